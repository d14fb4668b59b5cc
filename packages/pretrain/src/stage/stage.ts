/**
 * A pre-training stage as plain data: what to read, in which proportion, how long and at which rate. Nothing here names
 * a file, a device or a process; `parsePretrainStage` checks it and fills in every default.
 */
import type { Recompute, RopeConfig } from '@xgen-small/model-core';
import type { LearningRateSchedule } from '../schedule/learning-rate';

/** A number, or its value while the rate is at its peak and when it has fallen to its end; it moves with the rate between. */
export type Annealed = number | { start: number; end: number };

export interface MixtureDomain {
  /** Share of the stage's tokens, relative to the other domains' (normalised to sum 1). */
  share: Annealed;
  /** Documents scored lower are left out. */
  minimumQuality?: number;
  /** Only this best-scored fraction of the domain's documents is drawn: 1 all, 0.1 the best tenth. */
  topFraction?: Annealed;
  /** Shorter documents are left out; default: the stage's `minimumDocumentTokens`. */
  minimumDocumentTokens?: number;
  /** The stage is refused when the domain would be repeated more often than this. */
  maximumEpochs?: number;
}

export interface AdamWOptions {
  /** Default 0.9. */
  beta1?: number;
  /** Default 0.95. */
  beta2?: number;
  /** Default 1e-8. */
  epsilon?: number;
  /** Decoupled, on matrices only; default 0.1. */
  weightDecay?: number;
}

export interface MuonOptions extends AdamWOptions {
  /** Of the matrices' moments, Nesterov's form; default 0.95. */
  momentum?: number;
}

/** `adamW`, the default, or `muon`: orthogonalised updates for the matrices inside the blocks, AdamW for the rest. */
export interface OptimizerOptions extends MuonOptions {
  type?: 'adamW' | 'muon';
}

export interface PretrainStageInput {
  name: string;
  /** Longest piece of a document that attends to itself; longer documents are cut into pieces of this length. */
  contextLength: number;
  /** Tokens of one update. */
  tokensPerStep: number;
  /** Tokens of one forward and backward pass; default `tokensPerStep`, of which it is a divisor. */
  microBatchTokens?: number;
  /** Length of the stage in updates; give this or `tokens`. */
  steps?: number;
  /** Length of the stage in tokens, rounded up to whole updates; give this or `steps`. */
  tokens?: number;
  learningRate: LearningRateSchedule;
  /** Domain name → share and conditions. Domains of the data that are not named are not read. */
  mixture: Record<string, MixtureDomain>;
  optimizer?: OptimizerOptions;
  /** Gradients are scaled down to this global L2 norm; default 1. */
  maximumGradientNorm?: number;
  /** Whether the documents' weight column counts; default true. */
  documentWeights?: boolean;
  /** Documents with fewer tokens are left out; default 2. */
  minimumDocumentTokens?: number;
  /** Pieces waiting to be packed, among which the best fit is looked for; default 64. 1 cuts at every batch border. */
  packingLookahead?: number;
  /** Put the model's `bosTokenId` before each document, so that its first token is predicted too. Default: when the model has one. */
  prependBeginToken?: boolean;
  /** Which tokens carry loss; default `allTokens`. `markedTokens` needs a source with loss masks. */
  lossOn?: 'allTokens' | 'markedTokens';
  /** What of each block the backward pass computes again instead of holding it: memory for long contexts, against work. Default 'none'. */
  recompute?: Recompute;
  /** Rotary embedding of this stage; default: the model's. */
  rope?: RopeConfig;
  /** The model's `maximumPositions` from this stage on; default: the larger of the model's and `contextLength` when `rope` is given. */
  maximumPositions?: number;
}

/** A stage with every default filled in. */
export interface PretrainStage {
  name: string;
  contextLength: number;
  tokensPerStep: number;
  microBatchTokens: number;
  steps: number;
  learningRate: LearningRateSchedule;
  mixture: Record<string, MixtureDomain>;
  /** `momentum` with `muon` only. */
  optimizer: Required<AdamWOptions> & { type: 'adamW' | 'muon'; momentum?: number };
  maximumGradientNorm: number;
  documentWeights: boolean;
  minimumDocumentTokens: number;
  packingLookahead: number;
  prependBeginToken?: boolean;
  lossOn: 'allTokens' | 'markedTokens';
  recompute?: Recompute;
  rope?: RopeConfig;
  maximumPositions?: number;
}
