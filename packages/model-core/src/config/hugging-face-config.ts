/**
 * config.json of a Hugging Face LlamaForCausalLM to a ModelConfig and back. Reading takes both spellings of RoPE
 * (`rope_theta` + `rope_scaling`, and transformers 5's `rope_parameters`); writing uses the older one, which
 * transformers 4 and 5 and vLLM all read. A key whose value this decoder cannot honour is refused by name: a model
 * that would load and answer wrongly is worse than one that does not load.
 */
import { ModelError } from '../errors.js';
import { parseHuggingFaceRope, toHuggingFaceRope } from './hugging-face-rope.js';
import type { ModelConfig } from './model-config.js';
import { refuseUnsupported } from './unsupported-features.js';
import { validateModelConfig } from './validate-model-config.js';

type Json = Record<string, unknown>;

function number(json: Json, key: string, fallback?: number): number {
  const value = json[key] ?? fallback;
  if (typeof value !== 'number') {
    throw new ModelError(
      'INVALID_CONFIG',
      `config.json: ${key} is ${value === undefined ? 'missing' : JSON.stringify(value)}; a number is needed.`,
      { value, remedy: 'Is this the config.json of a Llama-architecture model?' },
    );
  }
  return value;
}

function boolean(json: Json, key: string, fallback: boolean): boolean {
  const value = json[key] ?? fallback;
  if (typeof value !== 'boolean') {
    throw new ModelError(
      'INVALID_CONFIG',
      `config.json: ${key} is ${JSON.stringify(value)}; true or false is needed.`,
      {
        value,
        remedy: 'Correct this value.',
      },
    );
  }
  return value;
}

/** A token id that may be absent; transformers also writes -1 for "none". */
function optionalTokenId(json: Json, key: string): number | undefined {
  const value = json[key];
  return value === undefined || value === null || value === -1 ? undefined : number(json, key);
}

function endTokenIds(json: Json): number | number[] | undefined {
  const value = json['eos_token_id'];
  if (!Array.isArray(value)) return optionalTokenId(json, 'eos_token_id');
  const ids = value.map((_, index) => number(value as unknown as Json, String(index)));
  return ids.length === 0 ? undefined : ids;
}

function parseText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new ModelError('INVALID_CONFIG', `config.json is not JSON: ${(cause as Error).message}.`, {
      value: text.slice(0, 100),
      remedy: 'Download or export the file again.',
      cause,
    });
  }
}

/**
 * A ModelConfig from config.json (parsed, or its text). Absent keys take LlamaConfig's defaults where these are
 * shapes (rms_norm_eps 1e-6, max_position_embeddings 2048, num_key_value_heads = num_attention_heads,
 * head_dim = hidden_size / num_attention_heads, tie_word_embeddings false, rope_theta 10000); absent token ids stay
 * absent. Throws ModelError INVALID_CONFIG or UNSUPPORTED_CONFIG.
 */
export function parseModelConfig(source: unknown): ModelConfig {
  const parsed = typeof source === 'string' ? parseText(source) : source;
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new ModelError('INVALID_CONFIG', 'config.json does not hold an object.', {
      value: parsed,
      remedy: 'Pass the content of a model folder’s config.json.',
    });
  }
  const json = parsed as Json;
  refuseUnsupported(json);
  const hiddenSize = number(json, 'hidden_size');
  const queryHeads = number(json, 'num_attention_heads');
  const maximumPositions = number(json, 'max_position_embeddings', 2048);
  const bosTokenId = optionalTokenId(json, 'bos_token_id');
  const eosTokenId = endTokenIds(json);
  const padTokenId = optionalTokenId(json, 'pad_token_id');
  return validateModelConfig({
    vocabularySize: number(json, 'vocab_size'),
    hiddenSize,
    intermediateSize: number(json, 'intermediate_size'),
    layers: number(json, 'num_hidden_layers'),
    queryHeads,
    keyValueHeads: number(json, 'num_key_value_heads', queryHeads),
    headDimension: number(json, 'head_dim', Math.floor(hiddenSize / queryHeads)),
    maximumPositions,
    rmsNormEpsilon: number(json, 'rms_norm_eps', 1e-6),
    tieWordEmbeddings: boolean(json, 'tie_word_embeddings', false),
    ...(bosTokenId !== undefined && { bosTokenId }),
    ...(eosTokenId !== undefined && { eosTokenId }),
    ...(padTokenId !== undefined && { padTokenId }),
    rope: parseHuggingFaceRope(json, maximumPositions),
  });
}

/** The config.json (as an object) under which transformers and vLLM load this model as LlamaForCausalLM. */
export function toHuggingFaceConfig(config: ModelConfig): Record<string, unknown> {
  const valid = validateModelConfig(config);
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: valid.vocabularySize,
    hidden_size: valid.hiddenSize,
    intermediate_size: valid.intermediateSize,
    num_hidden_layers: valid.layers,
    num_attention_heads: valid.queryHeads,
    num_key_value_heads: valid.keyValueHeads,
    head_dim: valid.headDimension,
    hidden_act: 'silu',
    max_position_embeddings: valid.maximumPositions,
    rms_norm_eps: valid.rmsNormEpsilon,
    tie_word_embeddings: valid.tieWordEmbeddings,
    attention_bias: false,
    attention_dropout: 0,
    mlp_bias: false,
    initializer_range: 0.02,
    pretraining_tp: 1,
    use_cache: true,
    // Written even where there is none: LlamaConfig would otherwise assume ids 1 and 2.
    bos_token_id: valid.bosTokenId ?? null,
    eos_token_id: valid.eosTokenId ?? null,
    pad_token_id: valid.padTokenId ?? null,
    ...toHuggingFaceRope(valid),
  };
}
