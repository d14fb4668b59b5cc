/**
 * Length extension as ordinary stages: each multiplies the context of the stage before the extension, raises the RoPE base, keeps
 * only documents that are long enough, and may add a share of retrieval documents.
 */
import { ntkBase, type ModelConfig, type RopeConfig } from '@xgen-small/model-core';
import { PretrainError } from '../errors';
import type { LearningRateSchedule } from '../schedule/learning-rate';
import { annealedAt } from '../data/annealed';
import type { Annealed, MixtureDomain, PretrainStage, PretrainStageInput } from './stage';
import { parsePretrainStage } from './parse-stage';

export interface ExtensionStep {
  /** Context of this step relative to the base stage's; greater than the step's before. */
  factor: number;
  /** Training tokens of this step. */
  tokens: number;
  learningRate: LearningRateSchedule;
  /** Default: plain RoPE with the base from the NTK formula for `factor`. */
  rope?: RopeConfig;
  /** Default: half of this step's context. */
  minimumDocumentTokens?: number;
  /** Default: enough for one context, at least the base stage's. */
  microBatchTokens?: number;
  tokensPerStep?: number;
  /** Default `<base name>-<context>`. */
  name?: string;
}

export interface ExtensionOptions {
  /** The stage to extend: its mixture, optimizer and packing are the defaults. */
  stage: PretrainStageInput;
  /** The model as that stage leaves it; its RoPE base is what the NTK formula starts from. */
  model: Pick<ModelConfig, 'rope' | 'headDimension'>;
  steps: readonly ExtensionStep[];
  /** A domain of the data with retrieval documents, and its share of the tokens; the other domains share the rest. */
  retrieval?: { domain: string; share: number; minimumDocumentTokens?: number };
}

/** The stages, complete and valid. Throws PretrainError INVALID_STAGE or INVALID_ARGUMENT. */
export function extensionStages({ stage, model, steps, retrieval }: ExtensionOptions): PretrainStage[] {
  const base = parsePretrainStage(stage);
  checkSteps(steps, model.rope);
  if (retrieval !== undefined && !(retrieval.share > 0 && retrieval.share < 1)) {
    throw new PretrainError('INVALID_ARGUMENT', `retrieval.share is ${retrieval.share}.`, {
      value: retrieval.share,
      remedy: 'Give a share between 0 and 1, or leave retrieval out.',
    });
  }
  return steps.map((step) => {
    const contextLength = Math.round(base.contextLength * step.factor);
    const minimumDocumentTokens = step.minimumDocumentTokens ?? Math.ceil(contextLength / 2);
    const microBatchTokens = step.microBatchTokens ?? Math.max(contextLength, base.microBatchTokens);
    const { steps: _steps, ...kept } = base;
    return parsePretrainStage({
      ...kept,
      name: step.name ?? `${base.name}-${contextLength}`,
      contextLength,
      microBatchTokens,
      tokensPerStep: step.tokensPerStep ?? microBatchTokens * Math.ceil(base.tokensPerStep / microBatchTokens),
      tokens: step.tokens,
      learningRate: step.learningRate,
      minimumDocumentTokens,
      mixture: withRetrieval(base.mixture, minimumDocumentTokens, retrieval),
      rope: step.rope ?? { base: ntkBase(model.rope.base, step.factor, model.headDimension) },
      maximumPositions: contextLength,
    });
  });
}

function checkSteps(steps: readonly ExtensionStep[], rope: RopeConfig): void {
  const factors = steps.map(({ factor }) => factor);
  if (factors.length === 0 || factors.some((factor, i) => !(factor > (factors[i - 1] ?? 1)))) {
    throw new PretrainError('INVALID_ARGUMENT', `The extension's factors are [${factors.join(', ')}].`, {
      value: factors,
      remedy: 'Give at least one, each greater than 1 and than the one before.',
    });
  }
  if (rope.scaling !== undefined && steps.some((step) => step.rope === undefined)) {
    throw new PretrainError('INVALID_ARGUMENT', `The model's RoPE is scaled already (${rope.scaling.type}).`, {
      value: rope,
      remedy: 'The NTK formula extends plain RoPE only; give each step its own rope.',
    });
  }
}

function withRetrieval(
  mixture: Record<string, MixtureDomain>,
  minimumDocumentTokens: number,
  retrieval: ExtensionOptions['retrieval'],
): Record<string, MixtureDomain> {
  const others = Object.entries(mixture).filter(([name]) => name !== retrieval?.domain);
  // Shares are relative: the end of an annealed stage is where the extension goes on from.
  const sum = others.reduce((total, [, { share }]) => total + annealedAt(share, 1), 0);
  const remaining = 1 - (retrieval?.share ?? 0);
  const scaled = others
    .filter(([, { share }]) => annealedAt(share, 1) > 0)
    .map(([name, { share, minimumDocumentTokens: own, topFraction, ...domain }]): [string, MixtureDomain] => [
      name,
      {
        ...domain,
        share: (annealedAt(share, 1) / sum) * remaining,
        minimumDocumentTokens: Math.max(own ?? 0, minimumDocumentTokens),
        ...(topFraction === undefined ? {} : { topFraction: settled(topFraction) }),
      },
    ]);
  if (retrieval === undefined) return Object.fromEntries(scaled);
  const own: MixtureDomain = { share: retrieval.share, minimumDocumentTokens: retrieval.minimumDocumentTokens ?? 2 };
  return Object.fromEntries([...scaled, [retrieval.domain, own]]);
}

function settled(value: Annealed): number {
  return annealedAt(value, 1);
}
