import type { Tokenizer } from '@xgen-small/tokenizer';

/** Bytes of text behind each token id, 0 for special tokens: what `evaluateLoss` takes for bits per byte. */
export function tokenByteLengths(
  tokenizer: Pick<Tokenizer, 'vocabularySize' | 'specialTokens' | 'tokenBytes'>,
): Uint32Array {
  const special = new Set(tokenizer.specialTokens.values());
  return Uint32Array.from({ length: tokenizer.vocabularySize }, (_, id) =>
    special.has(id) ? 0 : tokenizer.tokenBytes(id).length,
  );
}
