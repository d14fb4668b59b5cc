/**
 * Strict validation of a ModelConfig: unknown keys, ranges, then the relations between fields. Everything that reads
 * a configuration may rely on these after one call.
 */
import { z } from 'zod';
import { ModelError } from '../errors.js';
import type { ModelConfig } from './model-config.js';

const positiveInteger = z.int().min(1);
const tokenId = z.int().min(0);
const factor = z.number().finite().min(1);
const positive = z.number().finite().gt(0);

const ropeScaling = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('linear'), factor }),
  z.strictObject({ type: z.literal('dynamic'), factor }),
  z.strictObject({
    type: z.literal('yarn'),
    factor,
    originalMaximumPositions: positiveInteger.optional(),
    attentionFactor: positive.optional(),
    betaFast: positive.optional(),
    betaSlow: positive.optional(),
    mscale: positive.optional(),
    mscaleAllDimensions: positive.optional(),
    truncate: z.boolean().optional(),
  }),
  z.strictObject({
    type: z.literal('llama3'),
    factor,
    lowFrequencyFactor: positive,
    highFrequencyFactor: positive,
    originalMaximumPositions: positiveInteger,
  }),
]);

const ropeConfig = z.strictObject({ base: z.number().finite().gt(1), scaling: ropeScaling.optional() });

const modelConfig = z.strictObject({
  vocabularySize: positiveInteger.max(2 ** 31 - 1),
  hiddenSize: positiveInteger,
  intermediateSize: positiveInteger,
  layers: positiveInteger,
  queryHeads: positiveInteger,
  keyValueHeads: positiveInteger,
  headDimension: positiveInteger,
  maximumPositions: positiveInteger.max(2 ** 31 - 1),
  rmsNormEpsilon: positive.lt(1),
  tieWordEmbeddings: z.boolean(),
  bosTokenId: tokenId.optional(),
  eosTokenId: z.union([tokenId, z.array(tokenId).min(1)]).optional(),
  padTokenId: tokenId.optional(),
  rope: ropeConfig,
});

/** Schema and interface describe the same type; a field added to one alone fails to compile. */
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Flatten<T> = T extends object ? { [K in keyof T]: Flatten<T[K]> } : T;
const schemaMatchesInterface: Equal<Flatten<z.infer<typeof modelConfig>>, Flatten<ModelConfig>> = true;

/** The error for the first problem of a failed parse, with its path and value. */
function configError(error: z.ZodError, input: unknown): ModelError {
  const issue = error.issues[0];
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    const key = [...path, issue.keys[0]].join('.');
    return new ModelError('INVALID_CONFIG', `The model configuration has an unknown key ${key}.`, {
      value: key,
      remedy: 'Remove it or correct its spelling.',
    });
  }
  let value: unknown = input;
  for (const key of path) value = (value as Record<string, unknown> | null | undefined)?.[key];
  return new ModelError(
    'INVALID_CONFIG',
    `The model configuration's ${path.join('.') || 'root'} is ${JSON.stringify(value)}: ${issue.message}.`,
    { value, remedy: 'Correct this value.' },
  );
}

function refuse(message: string, value: unknown, remedy: string): never {
  throw new ModelError('INVALID_CONFIG', message, { value, remedy });
}

function checkRelations(config: ModelConfig): void {
  const { hiddenSize, queryHeads, keyValueHeads, headDimension, vocabularySize, maximumPositions, rope } = config;
  if (queryHeads % keyValueHeads !== 0) {
    refuse(
      `queryHeads ${queryHeads} is not a multiple of keyValueHeads ${keyValueHeads}.`,
      keyValueHeads,
      'Every key-value head serves the same number of query heads: choose a divisor.',
    );
  }
  if (hiddenSize % queryHeads !== 0) {
    refuse(
      `hiddenSize ${hiddenSize} is not a multiple of queryHeads ${queryHeads}.`,
      hiddenSize,
      'transformers refuses such a config.json, whatever head_dim says: change one of the two.',
    );
  }
  if (headDimension % 2 !== 0) {
    refuse(
      `headDimension ${headDimension} is odd.`,
      headDimension,
      'RoPE rotates pairs of channels: choose an even size.',
    );
  }
  const ids: [string, number | undefined][] = [
    ['bosTokenId', config.bosTokenId],
    ['padTokenId', config.padTokenId],
    ...[config.eosTokenId ?? []].flat().map((id): [string, number] => ['eosTokenId', id]),
  ];
  for (const [key, id] of ids) {
    if (id !== undefined && id >= vocabularySize) {
      refuse(
        `${key} ${id} lies outside the vocabulary of ${vocabularySize}.`,
        id,
        'Use an id below vocabularySize, or leave it out.',
      );
    }
  }
  const scaling = rope.scaling;
  if (scaling === undefined) return;
  if (scaling.type === 'dynamic' && headDimension <= 2) {
    refuse(
      `Dynamic RoPE scaling is undefined at headDimension ${headDimension}.`,
      headDimension,
      'Use 4 or more, or another scaling.',
    );
  }
  if (scaling.type === 'llama3' && scaling.highFrequencyFactor <= scaling.lowFrequencyFactor) {
    refuse(
      `rope.scaling.highFrequencyFactor ${scaling.highFrequencyFactor} is not above lowFrequencyFactor ${scaling.lowFrequencyFactor}.`,
      scaling.highFrequencyFactor,
      'Llama 3 uses 4 and 1.',
    );
  }
  if (scaling.type === 'yarn') {
    const { betaFast = 32, betaSlow = 1, originalMaximumPositions } = scaling;
    if (betaFast <= betaSlow) {
      refuse(
        `rope.scaling.betaFast ${betaFast} is not above betaSlow ${betaSlow}.`,
        betaFast,
        'The paper uses 32 and 1.',
      );
    }
    if (originalMaximumPositions !== undefined && originalMaximumPositions > maximumPositions) {
      refuse(
        `rope.scaling.originalMaximumPositions ${originalMaximumPositions} exceeds maximumPositions ${maximumPositions}.`,
        originalMaximumPositions,
        'It is the context length before extension.',
      );
    }
  }
}

/**
 * Checks a configuration and returns a clean deep copy. Throws ModelError INVALID_CONFIG naming the key, its value
 * and the remedy.
 */
export function validateModelConfig(config: ModelConfig): ModelConfig {
  const result = modelConfig.safeParse(config);
  if (!result.success || !schemaMatchesInterface) throw configError(result.error!, config);
  checkRelations(result.data);
  return result.data;
}
