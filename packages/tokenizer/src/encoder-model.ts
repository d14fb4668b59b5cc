/** What encoding needs of a tokenizer, in a form that crosses threads: its large table lies in shared memory. */
import type { AddedTokenBytes } from './added-token-finder.js';
import { byteCharacters } from './byte-level-alphabet.js';
import { TokenizerError } from './errors.js';
import { MergeTable } from './merge-table.js';
import { rulesFromJson, type SplitRules } from './pre-tokenizer.js';
import type { TokenizerDefinition } from './types.js';

export interface EncoderModel {
  rules: SplitRules;
  /** Token id of each byte. */
  byteTokens: Int32Array;
  mergeSlots: Int32Array;
  /** The vocabulary, where whole pre-tokens are looked up in it before any merge (`ignore_merges`). */
  wholeWords?: ReadonlyMap<string, number>;
  normalizeNfc: boolean;
  /** Added tokens, those that are matched before normalization and those after it. */
  addedTokens: { raw: AddedTokenBytes[]; normalized: AddedTokenBytes[] };
}

function unsupported(what: string, value: unknown): TokenizerError {
  return new TokenizerError('UNSUPPORTED_TOKENIZER', `This tokenizer has ${what}.`, {
    value,
    remedy: 'Only byte-level BPE as Llama 3, Qwen 2, GPT-2, SmolLM and this package use it is supported.',
  });
}

export function createEncoderModel({
  model,
  added_tokens,
  normalizer,
  pre_tokenizer,
}: TokenizerDefinition): EncoderModel {
  if (model.dropout !== null && model.dropout !== 0) throw unsupported('merge dropout', model.dropout);
  for (const field of ['continuing_subword_prefix', 'end_of_word_suffix'] as const) {
    if (model[field] !== null && model[field] !== '') throw unsupported(field, model[field]);
  }
  for (const token of added_tokens) {
    if (token.single_word || token.lstrip || token.rstrip) {
      throw unsupported('an added token with single_word, lstrip or rstrip', token);
    }
  }
  const vocabulary = new Map(Object.entries(model.vocab));
  const idOf = (token: string) => vocabulary.get(token) as number;
  const merges = new Int32Array(model.merges.length * 3);
  for (const [rank, [left, right]] of model.merges.entries()) {
    merges[rank * 3] = idOf(left);
    merges[rank * 3 + 1] = idOf(right);
    merges[rank * 3 + 2] = idOf(left + right);
  }
  const utf8 = new TextEncoder();
  const bytesOf = (normalized: boolean) =>
    added_tokens
      .filter((token) => token.normalized === normalized)
      .map(({ id, content }) => ({ id, bytes: utf8.encode(content) }));
  return {
    rules: rulesFromJson(pre_tokenizer),
    byteTokens: Int32Array.from(byteCharacters, idOf),
    mergeSlots: MergeTable.build(merges).slots,
    wholeWords: model.ignore_merges ? vocabulary : undefined,
    normalizeNfc: isNfc(normalizer),
    addedTokens: { raw: bytesOf(false), normalized: bytesOf(true) },
  };
}

function isNfc(normalizer: unknown): boolean {
  if (normalizer === null || normalizer === undefined) return false;
  if ((normalizer as { type?: unknown }).type === 'NFC') return true;
  throw unsupported('a normalizer other than NFC', normalizer);
}
