/** The tables that encoding and decoding need, built once from a definition. */
import { alternation } from './alternation.js';
import { byteCharacters } from './byte-level-alphabet.js';
import { BytePairEncoder } from './byte-pair-encoder.js';
import { TokenizerError } from './errors.js';
import { MergeTable } from './merge-table.js';
import { createPreTokenScanner } from './pre-token-scanner.js';
import { rulesFromJson } from './pre-tokenizer.js';
import { tokenByteTable } from './tokenizer-definition.js';
import type { AddedToken, TokenizerDefinition } from './types.js';

export interface TokenizerModel {
  encoder: BytePairEncoder;
  normalizeNfc: boolean;
  /** Finds added tokens, leftmost and then longest; undefined when there are none. In Hugging Face's order: first the
   * tokens that are matched before normalization, then the others. */
  addedTokenPatterns: RegExp[];
  tokenIds: ReadonlyMap<string, number>;
  specialTokens: ReadonlyMap<string, number>;
  specialIds: ReadonlySet<number>;
  /** Bytes of each id; holes where a definition skips an id. */
  tokenBytes: readonly (Uint8Array | undefined)[];
}

function unsupported(what: string, value: unknown): TokenizerError {
  return new TokenizerError('UNSUPPORTED_TOKENIZER', `This tokenizer has ${what}.`, {
    value,
    remedy: 'Only byte-level BPE as Llama 3, Qwen 2, GPT-2, SmolLM and this package use it is supported.',
  });
}

export function createTokenizerModel(definition: TokenizerDefinition): TokenizerModel {
  const { model, added_tokens, normalizer } = definition;
  if (model.dropout !== null && model.dropout !== 0) throw unsupported('merge dropout', model.dropout);
  for (const field of ['continuing_subword_prefix', 'end_of_word_suffix'] as const) {
    if (model[field] !== null && model[field] !== '') throw unsupported(field, model[field]);
  }
  const normalizeNfc = isNfc(normalizer);
  const vocabulary = new Map(Object.entries(model.vocab));
  const idOf = (token: string) => vocabulary.get(token) as number;
  const merges = new Int32Array(model.merges.length * 3);
  for (const [rank, [left, right]] of model.merges.entries()) {
    merges.set([idOf(left), idOf(right), idOf(left + right)], rank * 3);
  }
  const tokenIds = new Map(vocabulary);
  for (const { content, id } of added_tokens) tokenIds.set(content, id);
  const special = added_tokens.filter((token) => token.special);
  const encoder = new BytePairEncoder({
    scanner: createPreTokenScanner(rulesFromJson(definition.pre_tokenizer)),
    byteTokens: Int32Array.from(byteCharacters, idOf),
    merges: new MergeTable(merges),
    wholeWords: model.ignore_merges
      ? { ids: vocabulary, longest: Math.max(...[...vocabulary.keys()].map((token) => token.length)) }
      : undefined,
  });
  return {
    encoder,
    normalizeNfc,
    addedTokenPatterns: addedTokenPatterns(added_tokens),
    tokenIds,
    specialTokens: new Map(special.map(({ content, id }) => [content, id])),
    specialIds: new Set(special.map(({ id }) => id)),
    tokenBytes: tokenByteTable(definition),
  };
}

function isNfc(normalizer: unknown): boolean {
  if (normalizer === null || normalizer === undefined) return false;
  if ((normalizer as { type?: unknown }).type === 'NFC') return true;
  throw unsupported('a normalizer other than NFC', normalizer);
}

function addedTokenPatterns(tokens: readonly AddedToken[]): RegExp[] {
  for (const token of tokens) {
    if (token.single_word || token.lstrip || token.rstrip) {
      throw unsupported('an added token with single_word, lstrip or rstrip', token);
    }
  }
  const groups = [tokens.filter((token) => !token.normalized), tokens.filter((token) => token.normalized)];
  return groups.filter((group) => group.length > 0).map((group) => alternation(group.map((token) => token.content)));
}
