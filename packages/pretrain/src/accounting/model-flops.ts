/**
 * Floating-point operations that a decoder's training step needs, for rates and model FLOPs utilisation (Chowdhery et al.,
 * arXiv 2204.02311, appendix B): two a parameter and token forward, four backward, attention beside. Recomputation doesn't count.
 */
import type { ModelConfig } from '@xgen-small/model-core';
import { PretrainError } from '../errors';

export interface ModelFlops {
  /** Matrix products of the blocks: 6 × their parameters. */
  blocks: number;
  /** Product with the output weight: 6 × D × V, tied or not. */
  outputHead: number;
  /** Scores and weighted values: 12 × Hq × hd × L × the mean number of keys a query sees. */
  attention: number;
}

export interface ModelFlopsOptions {
  /** Default true: a query sees (contextLength + 1) / 2 keys on average. False counts all, as most published figures do. */
  causal?: boolean;
}

/** Operations a token, forward and backward, in documents of `contextLength` tokens. Throws PretrainError INVALID_ARGUMENT. */
export function modelFlopsPerToken(config: ModelConfig, contextLength: number, options?: ModelFlopsOptions): number {
  const { blocks, outputHead, attention } = modelFlopsByPart(config, contextLength, options);
  return blocks + outputHead + attention;
}

/** `modelFlopsPerToken` by part: 6 × non-embedding parameters plus attention is `blocks + attention` of a tied model. */
export function modelFlopsByPart(
  config: ModelConfig,
  contextLength: number,
  { causal = true }: ModelFlopsOptions = {},
): ModelFlops {
  if (!(contextLength >= 1)) {
    throw new PretrainError('INVALID_ARGUMENT', `contextLength is ${contextLength}.`, {
      value: contextLength,
      remedy: 'Pass a number of tokens, at least 1.',
    });
  }
  const { hiddenSize, intermediateSize, layers, queryHeads, keyValueHeads, headDimension, vocabularySize } = config;
  const attentionParameters = hiddenSize * headDimension * (2 * queryHeads + 2 * keyValueHeads);
  const feedForwardParameters = 3 * hiddenSize * intermediateSize;
  const keys = causal ? (contextLength + 1) / 2 : contextLength;
  return {
    blocks: 6 * layers * (attentionParameters + feedForwardParameters),
    outputHead: 6 * hiddenSize * vocabularySize,
    attention: 12 * layers * queryHeads * headDimension * keys,
  };
}
