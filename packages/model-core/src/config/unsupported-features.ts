/** What a config.json may ask for that this decoder does not compute. Each is refused by key and value. */
import { ModelError } from '../errors.js';

type Json = Record<string, unknown>;

interface Rule {
  key: string;
  /** True where the value leaves the plain Llama computation unchanged. */
  accepts: (value: unknown, json: Json) => boolean;
  remedy: string;
}

const off = (value: unknown): boolean => value === false || value === 0;
const exactly =
  (...values: unknown[]) =>
  (value: unknown): boolean =>
    values.includes(value);
const never = (): boolean => false;

const noBias = 'Projections with a bias are not built.';
const noExperts = 'Mixtures of experts are not built.';
const noSlidingWindow = 'Only full causal attention is built.';
const noNorm = 'Normalisation of queries and keys is not built.';
const noScale = 'Llama has no such multiplier.';
const noCap = 'Logit capping is not built.';

/** A window is harmless where nothing uses it: switched off (Qwen), or no shorter than the context. */
function windowIsHarmless(value: unknown, json: Json): boolean {
  if (json['use_sliding_window'] === false) return true;
  const maximum = json['max_position_embeddings'];
  return typeof value === 'number' && typeof maximum === 'number' && value >= maximum;
}

const rules: readonly Rule[] = [
  { key: 'hidden_act', accepts: exactly('silu', 'swish'), remedy: 'Only SwiGLU (silu) feed-forward layers are built.' },
  { key: 'hidden_activation', accepts: exactly('silu', 'swish'), remedy: 'Only SwiGLU (silu) is built.' },
  { key: 'attention_bias', accepts: off, remedy: noBias },
  { key: 'qkv_bias', accepts: off, remedy: noBias },
  { key: 'use_qkv_bias', accepts: off, remedy: noBias },
  { key: 'attention_out_bias', accepts: off, remedy: noBias },
  { key: 'mlp_bias', accepts: off, remedy: noBias },
  { key: 'use_bias', accepts: off, remedy: noBias },
  { key: 'lm_head_bias', accepts: off, remedy: noBias },
  { key: 'sliding_window', accepts: windowIsHarmless, remedy: noSlidingWindow },
  { key: 'use_sliding_window', accepts: off, remedy: noSlidingWindow },
  { key: 'attention_chunk_size', accepts: never, remedy: noSlidingWindow },
  {
    key: 'layer_types',
    accepts: (value) => Array.isArray(value) && value.every((type) => type === 'full_attention'),
    remedy: noSlidingWindow,
  },
  { key: 'num_local_experts', accepts: exactly(0, 1), remedy: noExperts },
  { key: 'num_experts', accepts: exactly(0, 1), remedy: noExperts },
  { key: 'n_routed_experts', accepts: exactly(0), remedy: noExperts },
  { key: 'moe_intermediate_size', accepts: exactly(0), remedy: noExperts },
  { key: 'qk_layernorm', accepts: off, remedy: noNorm },
  { key: 'use_qk_norm', accepts: off, remedy: noNorm },
  { key: 'qk_norm', accepts: off, remedy: noNorm },
  { key: 'kv_lora_rank', accepts: never, remedy: 'Latent attention is not built.' },
  { key: 'clip_qkv', accepts: never, remedy: noCap },
  { key: 'attn_logit_softcapping', accepts: never, remedy: noCap },
  { key: 'final_logit_softcapping', accepts: never, remedy: noCap },
  { key: 'logit_scale', accepts: exactly(1), remedy: noScale },
  { key: 'logits_scaling', accepts: exactly(1), remedy: noScale },
  { key: 'embedding_multiplier', accepts: exactly(1), remedy: noScale },
  { key: 'residual_multiplier', accepts: exactly(1), remedy: noScale },
  { key: 'attention_multiplier', accepts: never, remedy: noScale },
  { key: 'query_pre_attn_scalar', accepts: never, remedy: noScale },
  { key: 'partial_rotary_factor', accepts: exactly(1), remedy: 'Only RoPE over the whole head is built.' },
  {
    // SmolLM3 writes 1 for "this layer rotates".
    key: 'no_rope_layers',
    accepts: (value) => Array.isArray(value) && value.every((flag) => flag === 1),
    remedy: 'Layers without positions are not built.',
  },
  { key: 'no_rope_layer_interval', accepts: exactly(0), remedy: 'Layers without positions are not built.' },
  {
    key: 'quantization_config',
    accepts: never,
    remedy: 'Quantised weights are not read: export the model in float32, float16 or bfloat16.',
  },
];

/** Model types that compute exactly what LlamaForCausalLM computes, given the rules above. */
const modelTypes = ['llama', 'mistral', 'smollm', 'qwen2'];

/** Throws UNSUPPORTED_CONFIG for the first feature of `json` that would be computed wrongly. */
export function refuseUnsupported(json: Json): void {
  const modelType = json['model_type'];
  const architectures = json['architectures'];
  const llama = Array.isArray(architectures) && architectures.includes('LlamaForCausalLM');
  if (modelType === undefined ? !llama : typeof modelType !== 'string' || !modelTypes.includes(modelType)) {
    throw new ModelError(
      'UNSUPPORTED_CONFIG',
      `config.json: model_type is ${JSON.stringify(modelType)} (architectures ${JSON.stringify(architectures)}).`,
      { value: modelType, remedy: `Llama-architecture decoders are built: model_type ${modelTypes.join(', ')}.` },
    );
  }
  if (modelType === 'qwen2' && json['attention_bias'] !== false && json['qkv_bias'] !== false) {
    throw new ModelError('UNSUPPORTED_CONFIG', 'config.json: model_type is "qwen2", whose q, k and v have biases.', {
      value: modelType,
      remedy: `${noBias} Where the checkpoint has none, say so with "attention_bias": false.`,
    });
  }
  for (const { key, accepts, remedy } of rules) {
    const value = json[key];
    if (value !== undefined && value !== null && !accepts(value, json)) {
      throw new ModelError('UNSUPPORTED_CONFIG', `config.json: ${key} is ${JSON.stringify(value)}.`, { value, remedy });
    }
  }
}
