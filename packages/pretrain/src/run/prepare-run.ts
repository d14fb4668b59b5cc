/** Everything a stage needs before its first step: checks across stage, model and data, the packer, and the run's identity. */
import { join } from 'node:path';
import { type CausalLanguageModel, recomputeModeOfBlocks } from '@xgen-small/model-core';
import { CheckpointStore, type TrainingCheckpoint } from '../checkpoint/checkpoint-store';
import { describeDifference, hashVariables, identityDifferences, type Json } from '../checkpoint/identity';
import { BatchPacker, resolveBeginToken } from '../data/batch-packer';
import { PretrainError } from '../errors';
import { parsePretrainStage, pretrainStageSchema } from '../stage/parse-stage';
import type { PretrainStage } from '../stage/stage';
import type { PretrainStageOptions } from './options';

/** Settings of a model that its moments' shapes depend on. */
const sizeSettings: readonly string[] = [
  'vocabularySize',
  'hiddenSize',
  'intermediateSize',
  'layers',
  'queryHeads',
  'keyValueHeads',
  'headDimension',
  'tieWordEmbeddings',
];

/** Marks this loop's checkpoints. */
export const checkpointKind = 'pretrain';

export interface PreparedRun {
  stage: PretrainStage;
  packer: BatchPacker;
  store: CheckpointStore;
  identity: Record<string, Json>;
  /** Where fresh moments come from, when not zero. */
  optimizerSource?: TrainingCheckpoint;
}

/** Throws PretrainError, or model-core's ModelError for a `recompute` that doesn't fit the model, before anything is written or changed. */
export async function prepareRun(options: PretrainStageOptions): Promise<PreparedRun> {
  const { model, data, seed, folder, optimizerFrom } = options;
  const stage = parsePretrainStage(options.stage);
  checkOptions(options);
  checkModel(stage, model, data.vocabularySize);
  recomputeModeOfBlocks(options.recompute ?? stage.recompute ?? 'none', model.config.layers);
  const beginToken = resolveBeginToken(stage.prependBeginToken, model.config.bosTokenId);
  const prependBeginToken = beginToken !== undefined;
  const packer = new BatchPacker({ source: data, stage, seed, prependBeginToken, beginToken });
  const optimizerSource =
    optimizerFrom === undefined ? undefined : await finishedCheckpoint(optimizerFrom, model, stage);
  const identity: Record<string, Json> = {
    stage: toJson(stage),
    model: { ...toJson(model.config), parameters: await hashVariables(model.parameters) },
    data: data.fingerprint,
    seed,
    optimizer: optimizerSource?.variablesHash ?? 'fresh',
  };
  const store = new CheckpointStore({ folder: join(folder, 'checkpoints'), kind: checkpointKind });
  return { stage, packer, store, identity, optimizerSource };
}

/** The model under the stage's RoPE: itself, or one that shares its variables. */
export function modelForStage(model: CausalLanguageModel, stage: PretrainStage): CausalLanguageModel {
  const { rope, maximumPositions } = stage;
  if (rope === undefined && maximumPositions === undefined) return model;
  return model.withRope(rope ?? model.config.rope, positionsForStage(model, stage));
}

function positionsForStage(
  model: CausalLanguageModel,
  { rope, maximumPositions, contextLength }: PretrainStage,
): number {
  const own = model.config.maximumPositions;
  return maximumPositions ?? (rope === undefined ? own : Math.max(own, contextLength));
}

function checkModel(stage: PretrainStage, model: CausalLanguageModel, vocabularySize: number): void {
  const { config } = model;
  const positions = positionsForStage(model, stage);
  if (stage.contextLength > positions) {
    throw new PretrainError(
      'CONTEXT_TOO_LONG',
      `contextLength: ${stage.contextLength} exceeds the model's maximumPositions ${positions}.`,
      {
        value: stage.contextLength,
        remedy: 'Shorten the context, or set rope and maximumPositions (see extensionStages).',
      },
    );
  }
  if (vocabularySize > config.vocabularySize) {
    throw new PretrainError(
      'VOCABULARY_MISMATCH',
      `The data has ${vocabularySize} token ids, the model only ${config.vocabularySize}.`,
      { value: vocabularySize, remedy: "Make the model's vocabularySize at least the tokenizer's." },
    );
  }
}

function checkOptions({ seed, metricsEverySteps = 1, checkpoints = {}, heldOut }: PretrainStageOptions): void {
  const fail = (name: string, value: unknown, remedy: string): never => {
    throw new PretrainError('INVALID_ARGUMENT', `${name} is ${String(value)}.`, { value, remedy });
  };
  if (!Number.isSafeInteger(seed) || seed < 0) fail('seed', seed, 'Pass a whole number from 0 to 2^53 − 1.');
  if (!Number.isSafeInteger(metricsEverySteps) || metricsEverySteps < 1) {
    fail('metricsEverySteps', metricsEverySteps, 'Pass a whole number of updates, at least 1.');
  }
  const { everySteps, everySeconds } = checkpoints;
  const intervals = { 'checkpoints.everySteps': everySteps, 'heldOut.everySteps': heldOut?.everySteps };
  for (const [name, interval] of Object.entries(intervals)) {
    if (interval !== undefined && !(Number.isSafeInteger(interval) && interval >= 1)) {
      fail(name, interval, 'Pass a whole number of updates, at least 1.');
    }
  }
  if (everySeconds !== undefined && !(everySeconds > 0)) {
    fail('checkpoints.everySeconds', everySeconds, 'Pass a number of seconds above 0.');
  }
}

async function finishedCheckpoint(
  folder: string,
  model: CausalLanguageModel,
  { optimizer }: PretrainStage,
): Promise<TrainingCheckpoint> {
  const store = new CheckpointStore({ folder: join(folder, 'checkpoints'), kind: checkpointKind });
  const checkpoint = await store.latest();
  if (checkpoint === undefined) {
    throw new PretrainError('INVALID_ARGUMENT', `optimizerFrom: ${folder} holds no checkpoint.`, {
      value: folder,
      remedy: 'Name the folder of a stage that has run, or leave optimizerFrom out.',
    });
  }
  const other = pretrainStageSchema.safeParse(checkpoint.identity.stage);
  if (other.data?.optimizer.type !== optimizer.type) {
    throw new PretrainError(
      'INVALID_ARGUMENT',
      `optimizerFrom: ${folder} has the moments of ${other.data?.optimizer.type}, not of ${optimizer.type}.`,
      { value: folder, remedy: 'Use one type of optimizer for both stages, or leave optimizerFrom out.' },
    );
  }
  const differences = identityDifferences(checkpoint.identity.model, toJson(model.config)).filter(({ path }) =>
    sizeSettings.includes(path),
  );
  if (differences.length === 0) return checkpoint;
  throw new PretrainError(
    'INVALID_ARGUMENT',
    `optimizerFrom: ${folder} has the moments of another model (${differences.map(describeDifference).join('; ')}).`,
    { value: folder, remedy: 'Name a stage that trained this model, or leave optimizerFrom out.' },
  );
}

/** A plain copy without keys that are undefined. */
function toJson(value: object): { [key: string]: Json } {
  return JSON.parse(JSON.stringify(value)) as { [key: string]: Json };
}
