/** Types that cross the package's border; each function's own options live beside the function. */

export interface ProgressEvent {
  task: string;
  completed: number;
  total?: number;
  unit: string;
  detail?: string;
}

export type OnProgress = (event: ProgressEvent) => void;

/** Options that every long-running function takes. */
export interface LongTaskOptions {
  onProgress?: OnProgress;
  signal?: AbortSignal;
}

/**
 * How text is cut into pre-tokens, inside which merges happen.
 * - `llama3`: the pattern of GPT-4's cl100k_base and Llama 3: digits in groups of up to three.
 * - `llama3-single-digits`: the same with every digit alone (Qwen 2's pattern); helps arithmetic in small models.
 * - `code`: a line break and the indentation after it are one pre-token; contractions are not cut out of quoted words.
 * - `code-single-digits`: `code` with every digit alone.
 * - `gpt2`: the pattern of GPT-2 (runs of digits are one pre-token).
 */
export type PreTokenizerPreset = 'llama3' | 'llama3-single-digits' | 'code' | 'code-single-digits' | 'gpt2';

/** One entry of `added_tokens` in Hugging Face's tokenizer.json. */
export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** Hugging Face's tokenizer.json, for byte-level BPE. */
export interface TokenizerDefinition {
  version: '1.0';
  truncation: unknown;
  padding: unknown;
  added_tokens: AddedToken[];
  normalizer: unknown;
  pre_tokenizer: unknown;
  post_processor: unknown;
  decoder: unknown;
  model: {
    type: 'BPE';
    dropout: number | null;
    unk_token: string | null;
    continuing_subword_prefix: string | null;
    end_of_word_suffix: string | null;
    fuse_unk: boolean;
    byte_fallback: boolean;
    ignore_merges: boolean;
    vocab: Record<string, number>;
    merges: [string, string][];
  };
}

/** A message of a conversation; other fields (`name`, `tool_calls`, …) go to the template as they are. */
export interface ChatMessage {
  role: string;
  content: string;
  [field: string]: unknown;
}

/** The documents of a batch, end to end: document i is `tokens[offsets[i] … offsets[i + 1])`. */
export interface EncodedBatch {
  tokens: Uint32Array;
  /** documents + 1 positions in `tokens`, first 0, last `tokens.length`. */
  offsets: Float64Array;
}
