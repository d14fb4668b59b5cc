import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors.js';
import { parseModelConfig, toHuggingFaceConfig } from './hugging-face-config.js';
import type { ModelConfig } from './model-config.js';

/** As published with the models: meta-llama/Llama-3.1-8B, HuggingFaceTB/SmolLM2-135M. */
const llama31 = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  attention_dropout: 0.0,
  bos_token_id: 128000,
  eos_token_id: [128001, 128008, 128009],
  hidden_act: 'silu',
  hidden_size: 4096,
  initializer_range: 0.02,
  intermediate_size: 14336,
  max_position_embeddings: 131072,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 32,
  num_hidden_layers: 32,
  num_key_value_heads: 8,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 8.0,
    low_freq_factor: 1.0,
    high_freq_factor: 4.0,
    original_max_position_embeddings: 8192,
    rope_type: 'llama3',
  },
  rope_theta: 500000.0,
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
  transformers_version: '4.43.0',
  use_cache: true,
  vocab_size: 128256,
};

const smolLm2 = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  bos_token_id: 0,
  eos_token_id: 0,
  hidden_act: 'silu',
  hidden_size: 576,
  intermediate_size: 1536,
  is_llama_config: true,
  max_position_embeddings: 8192,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 9,
  num_hidden_layers: 30,
  num_key_value_heads: 3,
  rms_norm_eps: 1e-5,
  rope_interleaved: false,
  rope_scaling: null,
  rope_theta: 100000,
  tie_word_embeddings: true,
  vocab_size: 49152,
};

const small = {
  model_type: 'llama',
  vocab_size: 100,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
};

function errorOf(run: () => unknown): ModelError {
  try {
    run();
  } catch (error) {
    if (ModelError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('parseModelConfig', () => {
  it('reads Llama 3.1', () => {
    expect(parseModelConfig(llama31)).toEqual({
      vocabularySize: 128256,
      hiddenSize: 4096,
      intermediateSize: 14336,
      layers: 32,
      queryHeads: 32,
      keyValueHeads: 8,
      headDimension: 128,
      maximumPositions: 131072,
      rmsNormEpsilon: 1e-5,
      tieWordEmbeddings: false,
      bosTokenId: 128000,
      eosTokenId: [128001, 128008, 128009],
      rope: {
        base: 500000,
        scaling: {
          type: 'llama3',
          factor: 8,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalMaximumPositions: 8192,
        },
      },
    } satisfies ModelConfig);
  });

  it('reads SmolLM2 from its text', () => {
    expect(parseModelConfig(JSON.stringify(smolLm2))).toMatchObject({
      queryHeads: 9,
      keyValueHeads: 3,
      headDimension: 64,
      tieWordEmbeddings: true,
      eosTokenId: 0,
      rope: { base: 100000 },
    });
  });

  it('reads the rope_parameters of transformers 5 like the older keys', () => {
    const { rope_scaling, rope_theta, ...rest } = llama31;
    const newer = { ...rest, rope_parameters: { ...rope_scaling, rope_theta } };
    expect(parseModelConfig(newer)).toEqual(parseModelConfig(llama31));
    const plain = { ...small, rope_parameters: { rope_type: 'default', rope_theta: 77777 } };
    expect(parseModelConfig(plain).rope).toEqual({ base: 77777 });
  });

  it('reads YaRN with its factor given or implied', () => {
    const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 512, beta_fast: 16 };
    expect(parseModelConfig({ ...small, rope_scaling: yarn }).rope.scaling).toEqual({
      type: 'yarn',
      factor: 4,
      originalMaximumPositions: 512,
      betaFast: 16,
    });
    const implied = { type: 'yarn', original_max_position_embeddings: 512 };
    expect(parseModelConfig({ ...small, rope_scaling: implied }).rope.scaling).toMatchObject({ factor: 4 });
  });

  it('reads what transformers 5.17 saves for a YaRN model', () => {
    const saved = {
      ...small,
      architectures: ['LlamaForCausalLM'],
      dtype: 'float32',
      max_position_embeddings: 512,
      pad_token_id: null,
      rope_parameters: {
        attention_factor: 1.3,
        beta_fast: 12,
        beta_slow: 2,
        factor: 8,
        original_max_position_embeddings: 64,
        rope_theta: 50000,
        rope_type: 'yarn',
        truncate: false,
      },
      transformers_version: '5.17.0',
    };
    expect(parseModelConfig(saved).rope).toEqual({
      base: 50000,
      scaling: {
        type: 'yarn',
        factor: 8,
        originalMaximumPositions: 64,
        attentionFactor: 1.3,
        betaFast: 12,
        betaSlow: 2,
        truncate: false,
      },
    });
  });

  it('takes LlamaConfig’s defaults for shapes, and no token ids from nowhere', () => {
    const config = parseModelConfig(small);
    expect(config).toMatchObject({ keyValueHeads: 4, headDimension: 8, maximumPositions: 2048, rmsNormEpsilon: 1e-6 });
    expect(config.rope).toEqual({ base: 10000 });
    expect(config).not.toHaveProperty('eosTokenId');
  });

  it('accepts Qwen-like shapes: a head size of its own, a window that is switched off', () => {
    const qwenLike = { ...small, model_type: 'qwen2', attention_bias: false, head_dim: 16, rope_theta: 1e6 };
    const config = parseModelConfig({ ...qwenLike, use_sliding_window: false, sliding_window: 512 });
    expect(config).toMatchObject({ headDimension: 16, rope: { base: 1e6 } });
  });

  it.each<[string, unknown]>([
    ['attention_bias', true],
    ['mlp_bias', true],
    ['hidden_act', 'gelu'],
    ['sliding_window', 1024],
    ['use_sliding_window', true],
    ['layer_types', ['full_attention', 'sliding_attention']],
    ['num_local_experts', 8],
    ['num_experts', 64],
    ['use_qk_norm', true],
    ['final_logit_softcapping', 30],
    ['embedding_multiplier', 12],
    ['partial_rotary_factor', 0.5],
    ['no_rope_layers', [1, 1, 1, 0]],
    ['quantization_config', { quant_method: 'gptq' }],
    ['model_type', 'gpt2'],
    ['model_type', 'qwen3'],
    ['model_type', 'qwen2'],
  ])('refuses %s = %j by name', (key, value) => {
    const error = errorOf(() => parseModelConfig({ ...small, [key]: value }));
    expect(error.code).toBe('UNSUPPORTED_CONFIG');
    expect(error.message).toContain(key);
    expect(error.message).toContain(JSON.stringify(value));
    expect(error.value).toEqual(value);
    expect(error.remedy).toBeTruthy();
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      'an unknown RoPE',
      { rope_scaling: { rope_type: 'longrope', factor: 2 } },
      /rope_scaling\.rope_type is "longrope"/,
    ],
    ['a RoPE key out of place', { rope_parameters: { rope_type: 'yarn', factor: 2, mrope_section: [1] } }, /mrope_sec/],
    ['partial rotation inside', { rope_parameters: { partial_rotary_factor: 0.25 } }, /partial_rotary_factor is 0.25/],
  ])('refuses %s', (_, keys, message) => {
    const error = errorOf(() => parseModelConfig({ ...small, ...keys }));
    expect(error.code).toBe('UNSUPPORTED_CONFIG');
    expect(error.message).toMatch(message);
  });

  it.each<[string, unknown, RegExp]>([
    ['text that is not JSON', '{"hidden_size": ', /not JSON/],
    ['no object', [1], /does not hold an object/],
    ['no hidden_size', { ...small, hidden_size: undefined }, /hidden_size is missing/],
    ['a number as text', { ...small, vocab_size: '100' }, /vocab_size is "100"/],
    ['a fractional size', { ...small, hidden_size: 32.5 }, /hiddenSize is 32.5|headDimension/],
    ['no layers', { ...small, num_hidden_layers: 0 }, /layers is 0/],
    ['heads that do not divide', { ...small, num_key_value_heads: 3 }, /not a multiple of keyValueHeads 3/],
    ['hidden size not a multiple of heads', { ...small, num_attention_heads: 5 }, /not a multiple of queryHeads 5/],
    ['an odd head', { ...small, head_dim: 7 }, /headDimension 7 is odd/],
    ['an end token outside', { ...small, eos_token_id: [3, 100] }, /eosTokenId 100 lies outside/],
    ['a scaling without factor', { ...small, rope_scaling: { rope_type: 'linear' } }, /rope_scaling.factor is missing/],
    ['a factor below 1', { ...small, rope_scaling: { type: 'linear', factor: 0.5 } }, /factor is 0.5/],
    [
      'YaRN borders the wrong way round',
      { ...small, rope_scaling: { type: 'yarn', factor: 2, beta_fast: 1, beta_slow: 2 } },
      /betaFast 1 is not above betaSlow 2/,
    ],
  ])('names %s', (_, json, message) => {
    const error = errorOf(() => parseModelConfig(json));
    expect(error.code).toBe('INVALID_CONFIG');
    expect(error.message).toMatch(message);
    expect(error.remedy).toBeTruthy();
  });
});

describe('toHuggingFaceConfig', () => {
  it.each<[string, unknown]>([
    ['Llama 3.1', llama31],
    ['SmolLM2', smolLm2],
    ['defaults', small],
    ['linear', { ...small, rope_scaling: { type: 'linear', factor: 3 } }],
    ['dynamic', { ...small, rope_scaling: { type: 'dynamic', factor: 3 } }],
    [
      'YaRN with everything',
      {
        ...small,
        pad_token_id: 2,
        rope_scaling: {
          rope_type: 'yarn',
          factor: 4,
          original_max_position_embeddings: 512,
          attention_factor: 1.2,
          beta_fast: 16,
          beta_slow: 2,
          mscale: 1,
          mscale_all_dim: 0.7,
          truncate: false,
        },
      },
    ],
  ])('round-trips %s', (_, json) => {
    const config = parseModelConfig(json);
    const written = JSON.parse(JSON.stringify(toHuggingFaceConfig(config))) as unknown;
    expect(parseModelConfig(written)).toEqual(config);
  });

  it('writes back the keys that Llama 3.1 came with', () => {
    const written = toHuggingFaceConfig(parseModelConfig(llama31));
    const { torch_dtype: _dtype, transformers_version: _version, ...expected } = llama31;
    expect(written).toMatchObject(expected);
  });

  it('writes null for absent token ids, since LlamaConfig would assume 1 and 2', () => {
    expect(toHuggingFaceConfig(parseModelConfig(small))).toMatchObject({ bos_token_id: null, eos_token_id: null });
  });

  it('refuses unknown keys', () => {
    const config = { ...parseModelConfig(small), hidden: 3 } as ModelConfig;
    expect(() => toHuggingFaceConfig(config)).toThrow(/unknown key hidden/);
  });
});
