/** The RoPE part of config.json, in both of its spellings. */
import { ModelError } from '../errors.js';
import type { ModelConfig, RopeConfig, RopeScaling } from './model-config.js';

type Json = Record<string, unknown>;

/** Keys each kind of scaling may carry; any other changes the mathematics in a way we would silently drop. */
const knownKeys: Record<string, readonly string[]> = {
  default: [],
  linear: ['factor', 'original_max_position_embeddings'],
  dynamic: ['factor', 'original_max_position_embeddings'],
  yarn: [
    'factor',
    'original_max_position_embeddings',
    'attention_factor',
    'beta_fast',
    'beta_slow',
    'mscale',
    'mscale_all_dim',
    'truncate',
  ],
  llama3: ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'],
};

function unsupported(key: string, value: unknown, remedy: string): never {
  throw new ModelError('UNSUPPORTED_CONFIG', `config.json: ${key} is ${JSON.stringify(value)}.`, { value, remedy });
}

function invalid(key: string, value: unknown, remedy: string): never {
  const what = value === undefined || value === null ? 'missing' : JSON.stringify(value);
  throw new ModelError('INVALID_CONFIG', `config.json: ${key} is ${what}.`, { value, remedy });
}

function object(json: Json, key: string): Json | undefined {
  const value = json[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) invalid(key, value, 'An object or null is needed.');
  return value as Json;
}

/** Reads `rope_scaling` (which wins in transformers where both are present) or `rope_parameters`, and the base. */
export function parseHuggingFaceRope(json: Json, maximumPositions: number): RopeConfig {
  const older = object(json, 'rope_scaling');
  const newer = object(json, 'rope_parameters');
  const where = older === undefined ? 'rope_parameters' : 'rope_scaling';
  const fields = older ?? newer ?? {};
  const base = fields['rope_theta'] ?? newer?.['rope_theta'] ?? json['rope_theta'] ?? 10000;
  if (typeof base !== 'number') invalid('rope_theta', base, 'A number is needed.');
  const type = fields['rope_type'] ?? fields['type'] ?? 'default';
  if (typeof type !== 'string' || !Object.hasOwn(knownKeys, type)) {
    unsupported(`${where}.rope_type`, type, `This package knows ${Object.keys(knownKeys).join(', ')}.`);
  }
  const { rope_type: _ropeType, type: _type, rope_theta: _base, partial_rotary_factor: partial, ...rest } = fields;
  if (partial !== undefined && partial !== null && partial !== 1) {
    unsupported(`${where}.partial_rotary_factor`, partial, 'Only RoPE over the whole head is built.');
  }
  for (const [key, value] of Object.entries(rest)) {
    if (value !== null && !knownKeys[type].includes(key)) {
      // transformers 5 leaves this one beside plain RoPE when it standardizes a configuration.
      if (key === 'original_max_position_embeddings' || (type === 'default' && key === 'factor' && value === 1))
        continue;
      unsupported(`${where}.${key}`, value, `It has no meaning to rope_type ${type} here.`);
    }
  }
  const scaling = parseScaling(type, rest, where, maximumPositions, json);
  return scaling === undefined ? { base } : { base, scaling };
}

function parseScaling(
  type: string,
  fields: Json,
  where: string,
  maximumPositions: number,
  json: Json,
): RopeScaling | undefined {
  const optional = (key: string): number | undefined => {
    const value = fields[key];
    if (value === undefined || value === null) return undefined;
    return typeof value === 'number' ? value : invalid(`${where}.${key}`, value, 'A number is needed.');
  };
  const needed = (key: string): number => optional(key) ?? invalid(`${where}.${key}`, undefined, `${type} needs it.`);
  // Some exporters leave this key at the top level; transformers lets that one win.
  const topLevel = json['original_max_position_embeddings'];
  const original = typeof topLevel === 'number' ? topLevel : optional('original_max_position_embeddings');
  switch (type) {
    case 'linear':
      return { type, factor: needed('factor') };
    case 'dynamic':
      if (original !== undefined && original !== maximumPositions) {
        unsupported(
          `${where}.original_max_position_embeddings`,
          original,
          `Dynamic scaling here starts at max_position_embeddings (${maximumPositions}), as in transformers.`,
        );
      }
      return { type, factor: needed('factor') };
    case 'llama3':
      return {
        type,
        factor: needed('factor'),
        lowFrequencyFactor: needed('low_freq_factor'),
        highFrequencyFactor: needed('high_freq_factor'),
        originalMaximumPositions: original ?? maximumPositions,
      };
    case 'yarn': {
      const truncate = fields['truncate'] ?? undefined;
      if (truncate !== undefined && typeof truncate !== 'boolean') {
        invalid(`${where}.truncate`, truncate, 'true or false is needed.');
      }
      const entries: Record<string, number | boolean | undefined> = {
        originalMaximumPositions: original,
        attentionFactor: optional('attention_factor'),
        // transformers takes 0 for "not given" in these four.
        betaFast: optional('beta_fast') || undefined,
        betaSlow: optional('beta_slow') || undefined,
        mscale: optional('mscale') || undefined,
        mscaleAllDimensions: optional('mscale_all_dim') || undefined,
        truncate,
      };
      const factor = optional('factor') ?? (original === undefined ? needed('factor') : maximumPositions / original);
      return {
        type,
        factor,
        ...Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)),
      };
    }
    default:
      return undefined;
  }
}

/** `rope_theta` and `rope_scaling`. */
export function toHuggingFaceRope({ rope, maximumPositions }: ModelConfig): Json {
  const scaling = rope.scaling;
  const fields = ((): Json | null => {
    switch (scaling?.type) {
      case undefined:
        return null;
      case 'linear':
      case 'dynamic':
        return { rope_type: scaling.type, factor: scaling.factor };
      case 'llama3':
        return {
          rope_type: 'llama3',
          factor: scaling.factor,
          low_freq_factor: scaling.lowFrequencyFactor,
          high_freq_factor: scaling.highFrequencyFactor,
          original_max_position_embeddings: scaling.originalMaximumPositions,
        };
      case 'yarn':
        return {
          rope_type: 'yarn',
          factor: scaling.factor,
          original_max_position_embeddings: scaling.originalMaximumPositions ?? maximumPositions,
          ...(scaling.attentionFactor !== undefined && { attention_factor: scaling.attentionFactor }),
          ...(scaling.betaFast !== undefined && { beta_fast: scaling.betaFast }),
          ...(scaling.betaSlow !== undefined && { beta_slow: scaling.betaSlow }),
          ...(scaling.mscale !== undefined && { mscale: scaling.mscale }),
          ...(scaling.mscaleAllDimensions !== undefined && { mscale_all_dim: scaling.mscaleAllDimensions }),
          ...(scaling.truncate !== undefined && { truncate: scaling.truncate }),
        };
    }
  })();
  return { rope_theta: rope.base, rope_scaling: fields };
}
