/** The shape of a Llama-architecture decoder, in this project's names. Plain data: JSON in, JSON out. */

export interface LinearRopeScaling {
  type: 'linear';
  factor: number;
}

/** Base stretched with the length seen (NTK-aware, dynamic); at or below `maximumPositions` it is plain RoPE. */
export interface DynamicRopeScaling {
  type: 'dynamic';
  factor: number;
}

/** YaRN (arXiv 2309.00071). Defaults: originalMaximumPositions = maximumPositions, betaFast 32, betaSlow 1, truncate true. */
export interface YarnRopeScaling {
  type: 'yarn';
  factor: number;
  originalMaximumPositions?: number;
  /** Multiplies cosines and sines; default 0.1·ln(factor) + 1. */
  attentionFactor?: number;
  betaFast?: number;
  betaSlow?: number;
  mscale?: number;
  mscaleAllDimensions?: number;
  truncate?: boolean;
}

export interface Llama3RopeScaling {
  type: 'llama3';
  factor: number;
  lowFrequencyFactor: number;
  highFrequencyFactor: number;
  originalMaximumPositions: number;
}

export type RopeScaling = LinearRopeScaling | DynamicRopeScaling | YarnRopeScaling | Llama3RopeScaling;

export interface RopeConfig {
  base: number;
  scaling?: RopeScaling;
}

export interface ModelConfig {
  vocabularySize: number;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  queryHeads: number;
  keyValueHeads: number;
  headDimension: number;
  /** Longest context the model is meant for. */
  maximumPositions: number;
  rmsNormEpsilon: number;
  tieWordEmbeddings: boolean;
  bosTokenId?: number;
  eosTokenId?: number | number[];
  padTokenId?: number;
  rope: RopeConfig;
}
