/** The npm package `tokenizers` (Hugging Face's Rust code), the independent judge of ids, pre-tokens and merges. */
import { createRequire } from 'node:module';
import type { Tokenizer as NativeTokenizer } from 'tokenizers';
import type { TokenizerDefinition } from '../../src/types.js';

const native = createRequire(import.meta.url)('tokenizers') as { Tokenizer: typeof NativeTokenizer };

export function huggingFaceTokenizer(definition: unknown): NativeTokenizer {
  return native.Tokenizer.fromString(JSON.stringify(definition));
}

/** Ids with special tokens parsed, which `tokenizers` always does. */
export async function huggingFaceIds(tokenizer: NativeTokenizer, texts: readonly string[]): Promise<number[][]> {
  const encodings = await tokenizer.encodeBatch([...texts], { addSpecialTokens: false });
  return encodings.map((encoding) => encoding.getIds());
}

/** A definition with no vocabulary around a `pre_tokenizer`. */
export function emptyDefinition(preTokenizer: unknown): TokenizerDefinition {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: null,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: {},
      merges: [],
    },
  };
}

/** Splits by the `Split`/`Digits`/… steps of a pre-tokenizer; pieces in byte-level spelling. */
export function huggingFaceSplitter(preTokenizer: unknown): (text: string) => string[] {
  const split = huggingFaceTokenizer(emptyDefinition(preTokenizer)).getPreTokenizer();
  if (split === null) throw new Error('no pre-tokenizer');
  return (text) => split.preTokenizeString(text).map(([piece]) => piece);
}
