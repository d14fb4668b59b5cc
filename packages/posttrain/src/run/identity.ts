/** What a run's result depends on, as plain JSON: a resumed run must have the same, and differences are named by path. */
import type { CausalLanguageModel } from '@xgen-small/model-core';
import { hashVariables, type Json } from '@xgen-small/pretrain';

export interface RunIdentity {
  /** Resolved. */
  stage: object;
  seed: number;
  /** The model before training. */
  model: CausalLanguageModel;
  /** SHA-256 of the training data and of the held-out data. */
  data: string;
  heldOut?: string;
}

/** Reads every parameter back once. */
export async function runIdentity({ stage, seed, model, data, heldOut }: RunIdentity): Promise<Record<string, Json>> {
  return {
    stage: plain(stage),
    seed,
    initialModel: { config: plain(model.config), parameters: await hashVariables(model.parameters) },
    data,
    heldOut: heldOut ?? null,
  };
}

/** Through JSON, so that it equals what a checkpoint gives back. */
const plain = (value: object): Json => JSON.parse(JSON.stringify(value)) as Json;
