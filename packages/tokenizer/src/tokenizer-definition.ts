/**
 * tokenizer.json: strict reading, building and writing. Reading checks everything that encoding relies on, so that a
 * truncated or edited file is refused with its reason instead of giving other ids.
 */
import { z } from 'zod';
import { byteCharacters, tokenToBytes } from './byte-level-alphabet.js';
import { TokenizerError } from './errors.js';
import { preTokenizerJson } from './pre-tokenizer.js';
import type { PreTokenizerPreset, TokenizerDefinition } from './types.js';

/** The special tokens every tokenizer of ours starts with, in this order from id 0. */
export const standardSpecialTokens = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|pad|>'] as const;

const addedTokenSchema = z.object({
  id: z.int().nonnegative(),
  content: z.string().min(1),
  single_word: z.boolean(),
  lstrip: z.boolean(),
  rstrip: z.boolean(),
  normalized: z.boolean(),
  special: z.boolean(),
});

const fileSchema = z.object({
  version: z.literal('1.0'),
  truncation: z.unknown(),
  padding: z.unknown(),
  added_tokens: z.array(addedTokenSchema).default([]),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  post_processor: z.unknown(),
  decoder: z.unknown(),
  model: z.object({
    type: z.literal('BPE').default('BPE'),
    dropout: z.number().nullable().default(null),
    unk_token: z.string().nullable().default(null),
    continuing_subword_prefix: z.string().nullable().default(null),
    end_of_word_suffix: z.string().nullable().default(null),
    fuse_unk: z.boolean().default(false),
    byte_fallback: z.boolean().default(false),
    ignore_merges: z.boolean().default(false),
    vocab: z.custom<Record<string, number>>((value) => typeof value === 'object' && value !== null),
    merges: z.array(z.unknown()),
  }),
});

function corrupt(source: string, reason: string, value?: unknown, cause?: unknown): TokenizerError {
  return new TokenizerError('CORRUPT_TOKENIZER_FILE', `${source} is not a sound tokenizer.json: ${reason}.`, {
    value,
    cause,
    remedy: 'Copy or train it again.',
  });
}

/**
 * Parses and checks a tokenizer.json.
 * @param source what to call the text in errors, usually its path
 * @throws TokenizerError `CORRUPT_TOKENIZER_FILE` or `UNSUPPORTED_TOKENIZER`
 */
export function parseTokenizerDefinition(text: string, source = 'The text'): TokenizerDefinition {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw corrupt(source, `its JSON ends or breaks (${(error as Error).message})`, undefined, error);
  }
  return checkTokenizerDefinition(json, source);
}

/** `parseTokenizerDefinition` for a value that is parsed already. */
export function checkTokenizerDefinition(json: unknown, source = 'The definition'): TokenizerDefinition {
  const modelType = (json as { model?: { type?: unknown } } | null)?.model?.type;
  if (typeof modelType === 'string' && modelType !== 'BPE') {
    throw new TokenizerError('UNSUPPORTED_TOKENIZER', `${source} holds a ${modelType} model.`, {
      value: modelType,
      remedy: 'Only byte-level BPE is supported.',
    });
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) throw corrupt(source, z.prettifyError(parsed.error).replaceAll('\n', '; '));
  const { model } = parsed.data;
  const definition: TokenizerDefinition = {
    ...parsed.data,
    model: { ...model, merges: model.merges.map((merge, rank) => parseMerge(merge, rank, source)) },
  };
  checkVocabulary(definition, source);
  return definition;
}

function parseMerge(merge: unknown, rank: number, source: string): [string, string] {
  // Files written before 2024 join the two parts with a space.
  const parts = typeof merge === 'string' ? merge.split(' ') : merge;
  if (Array.isArray(parts) && parts.length === 2 && typeof parts[0] === 'string' && typeof parts[1] === 'string') {
    return [parts[0], parts[1]];
  }
  throw corrupt(source, `merge ${rank} is ${JSON.stringify(merge)}, not two strings`, merge);
}

function checkVocabulary(definition: TokenizerDefinition, source: string): void {
  const { vocab, merges } = definition.model;
  const tokens = new Map<string, number>(Object.entries(vocab));
  const ids = new Set<number>();
  for (const [token, id] of tokens) {
    if (!Number.isInteger(id) || id < 0 || id > 0xffffff)
      throw corrupt(source, `token ${JSON.stringify(token)} has id ${id}`, id);
    if (ids.has(id)) throw corrupt(source, `id ${id} occurs twice`, id);
    ids.add(id);
  }
  for (const [byte, character] of byteCharacters.entries()) {
    if (!tokens.has(character)) {
      throw new TokenizerError('UNSUPPORTED_TOKENIZER', `${source} has no token for byte ${byte}.`, {
        value: byte,
        remedy: 'Only byte-level BPE that covers every byte is supported: train with the whole byte alphabet.',
      });
    }
  }
  for (const [rank, [left, right]] of merges.entries()) {
    for (const part of [left, right, left + right]) {
      if (!tokens.has(part))
        throw corrupt(source, `merge ${rank} needs token ${JSON.stringify(part)}, which is missing`, part);
    }
  }
  for (const { id, content } of definition.added_tokens) {
    const inVocabulary = tokens.get(content);
    if (inVocabulary !== undefined ? inVocabulary !== id : ids.has(id)) {
      throw corrupt(
        source,
        `added token ${JSON.stringify(content)} has id ${id}, which the vocabulary gives to another`,
        id,
      );
    }
  }
}

/** What training yields, before it becomes a file. */
export interface LearnedVocabulary {
  /** Every token in order of id; special tokens first. */
  tokens: readonly string[];
  merges: readonly [string, string][];
  specialTokens: readonly string[];
  preTokenizer: PreTokenizerPreset;
}

export function buildTokenizerDefinition(learned: LearnedVocabulary): TokenizerDefinition {
  const ids = new Map(learned.tokens.map((token, id) => [token, id]));
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...new Set(learned.specialTokens)].map((content) => ({
      id: ids.get(content) as number,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: preTokenizerJson(learned.preTokenizer),
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges: [...learned.merges],
    },
  };
}

/** The bytes of tokenizer.json: the same definition always gives the same text, vocabulary in order of id. */
export function serializeTokenizerDefinition(definition: TokenizerDefinition): string {
  const { model, ...rest } = definition;
  const { vocab, merges, ...settings } = model;
  // Written by hand: an object would put tokens such as "7" before all others.
  const entries = Object.entries(vocab).sort((a, b) => a[1] - b[1]);
  const vocabText = entries.map(([token, id]) => `${JSON.stringify(token)}:${id}`).join(',\n');
  const mergesText = merges.map((merge) => JSON.stringify(merge)).join(',\n');
  const head = JSON.stringify(rest, null, 2).slice(0, -2);
  const modelHead = JSON.stringify(settings).slice(0, -1);
  return `${head},\n  "model": ${modelHead},"vocab":{\n${vocabText}\n},"merges":[\n${mergesText}\n]}\n}\n`;
}

/** Bytes of each id of a definition: byte-level tokens as their bytes, added tokens as their text in UTF-8. */
export function tokenByteTable(definition: TokenizerDefinition): (Uint8Array | undefined)[] {
  const table: (Uint8Array | undefined)[] = [];
  const utf8 = new TextEncoder();
  for (const [token, id] of Object.entries(definition.model.vocab))
    table[id] = tokenToBytes(token) ?? utf8.encode(token);
  for (const { id, content } of definition.added_tokens) table[id] = utf8.encode(content);
  return table;
}
