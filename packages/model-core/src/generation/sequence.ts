/** A request under way: its checked settings, its tokens so far, and where their keys and values lie. */
import type { ModelConfig } from '../config/model-config.js';
import { ModelError, type ModelErrorCode } from '../errors.js';
import { rootIdentity } from './block-allocator.js';
import type { GenerationRequest } from './types.js';

export interface Sampling {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  seed: number;
}

export class Sequence {
  /** Prompt, then what was generated. */
  readonly tokens: number[];
  readonly promptLength: number;
  /** Tokens whose keys and values are in the cache. */
  computed = 0;
  blocks: number[] = [];
  /** Blocks whose content is registered for reuse, and the identity of the last of them. */
  registeredBlocks = 0;
  lastIdentity = rootIdentity;

  constructor(
    readonly id: string,
    promptTokens: readonly number[],
    readonly maximumNewTokens: number,
    readonly sampling: Sampling,
    readonly stopTokens: ReadonlySet<number>,
    readonly topLogProbabilities: number,
  ) {
    this.tokens = [...promptTokens];
    this.promptLength = promptTokens.length;
  }

  /** Tokens still to be run: the rest of a prompt, or 1 while decoding. */
  get pending(): number {
    return this.tokens.length - this.computed;
  }

  get generated(): number {
    return this.tokens.length - this.promptLength;
  }
}

export interface SequenceLimits {
  config: ModelConfig;
  cacheTokens: number;
}

function refuse(message: string, value: unknown, remedy: string, code: ModelErrorCode = 'INVALID_ARGUMENT'): never {
  throw new ModelError(code, message, { value, remedy });
}

function inRange(
  request: GenerationRequest,
  key: 'temperature' | 'topP' | 'minP',
  ok: (n: number) => boolean,
  remedy: string,
) {
  const value = request[key];
  if (value !== undefined && !(typeof value === 'number' && ok(value))) refuse(`${key} is ${value}.`, value, remedy);
}

function wholeNumber(name: string, value: number | undefined, minimum: number, maximum: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= minimum && value <= maximum)) {
    refuse(`${name} is ${value}.`, value, `Use a whole number from ${minimum} to ${maximum}.`);
  }
}

function checkTokens(name: string, tokens: ArrayLike<number>, vocabularySize: number): void {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (!Number.isInteger(token) || token < 0 || token >= vocabularySize) {
      refuse(`${name}[${i}] is ${token}.`, token, `Tokens are whole numbers from 0 to ${vocabularySize - 1}.`);
    }
  }
}

/**
 * Checks a request against model and cache. Throws ModelError INVALID_ARGUMENT, or REQUEST_TOO_LONG where it can never
 * fit, however empty the cache.
 */
export function createSequence(
  request: GenerationRequest,
  id: string,
  defaultSeed: () => number,
  { config, cacheTokens }: SequenceLimits,
): Sequence {
  const { promptTokens, maximumNewTokens, temperature = 0, topK = 0, topP = 1, minP = 0 } = request;
  if (!(promptTokens?.length > 0)) refuse('The prompt is empty.', promptTokens, 'Give at least one token (bos).');
  checkTokens('promptTokens', promptTokens, config.vocabularySize);
  wholeNumber('maximumNewTokens', maximumNewTokens, 1, 2 ** 31 - 1);
  if (maximumNewTokens === undefined) refuse('maximumNewTokens is missing.', undefined, 'Say how many at most.');
  const total = promptTokens.length + maximumNewTokens;
  for (const [limit, what, remedy] of [
    [config.maximumPositions, "the model's context of", 'Shorten the prompt or ask for fewer new tokens.'],
    [cacheTokens, 'the key-value cache of', 'Raise cacheTokens, shorten the prompt or ask for fewer new tokens.'],
  ] as const) {
    if (total > limit) {
      refuse(
        `${promptTokens.length} prompt tokens and ${maximumNewTokens} new ones exceed ${what} ${limit}.`,
        total,
        remedy,
        'REQUEST_TOO_LONG',
      );
    }
  }
  inRange(request, 'temperature', (n) => n >= 0 && n <= 100, 'Use 0 (greedy) to 100.');
  inRange(request, 'topP', (n) => n > 0 && n <= 1, 'Use a number above 0, up to 1 (off).');
  inRange(request, 'minP', (n) => n >= 0 && n <= 1, 'Use 0 (off) to 1.');
  wholeNumber('topK', topK, 0, 2 ** 31 - 1);
  wholeNumber('seed', request.seed, 0, Number.MAX_SAFE_INTEGER);
  wholeNumber('topLogProbabilities', request.topLogProbabilities, 0, 20);
  const stopTokens = request.stopTokens ?? [config.eosTokenId ?? []].flat();
  checkTokens('stopTokens', stopTokens, config.vocabularySize);
  const sampling = { temperature, topK, topP, minP, seed: request.seed ?? defaultSeed() };
  return new Sequence(
    id,
    Array.from(promptTokens),
    maximumNewTokens,
    sampling,
    new Set(stopTokens),
    Math.min(request.topLogProbabilities ?? 0, config.vocabularySize),
  );
}
