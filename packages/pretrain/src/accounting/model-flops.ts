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
  total: number;
}

/**
 * Operations a token, forward and backward.
 * @param contextLength tokens of each document; a query sees (contextLength + 1) / 2 keys on average, or all with `causal: false`,
 *   the convention of most published utilisation figures
 */
export function modelFlopsPerToken(
  config: ModelConfig,
  contextLength: number,
  { causal = true }: { causal?: boolean } = {},
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
  const blocks = 6 * layers * (attentionParameters + feedForwardParameters);
  const outputHead = 6 * hiddenSize * vocabularySize;
  const attention = 12 * layers * queryHeads * headDimension * keys;
  return { blocks, outputHead, attention, total: blocks + outputHead + attention };
}
