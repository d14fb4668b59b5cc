/** What the endpoints share: the model as a service, its limits, and a request's way to sequences for the engine. */

import type { GenerationLoop } from '../generation/generation-loop.js';
import type { ServeChatTemplate, ServeTokenizer } from '../types.js';
import { ApiError } from './api-error.js';
import type { GenerationRequest } from '@xgen-small/model-core';

export interface Service {
  loop: GenerationLoop;
  tokenizer: ServeTokenizer;
  chatTemplate?: ServeChatTemplate;
  modelName: string;
  /** Seconds since 1970. */
  created: number;
  contextTokens: number;
  /** Undefined leaves them to the engine. */
  stopTokens?: number[];
  /** Stands for an empty prompt. */
  beginningToken?: number;
  maximumChoices: number;
}

/** What one request did, for metrics and logs. */
export interface RequestRecord {
  id: string;
  promptTokens: number;
  completionTokens: () => number;
  firstTokenAt?: number;
  /** The client went away before the end. */
  cancelled: boolean;
}

interface SamplingFields {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  seed?: number;
}

export function checkModel(service: Service, model: string): void {
  if (model === service.modelName) return;
  throw new ApiError(
    404,
    `The model '${model}' does not exist. This server has '${service.modelName}'.`,
    'model_not_found',
    'model',
  );
}

/** How many new tokens a prompt leaves room for; the caller's wish, if it has one, must fit. */
export function newTokenLimit(
  service: Service,
  promptTokens: number,
  wish: number | undefined,
  fallback: number | undefined,
  param: string,
): number {
  const { contextTokens } = service;
  const room = contextTokens - promptTokens;
  if (room < 1 || (wish ?? 1) > room) {
    const asked = wish === undefined ? '' : ` and ${wish} new ones were asked for`;
    throw new ApiError(
      400,
      `The model's context is ${contextTokens} tokens, but the prompt has ${promptTokens}${asked}. ` +
        'Shorten the prompt or ask for fewer new tokens.',
      'context_length_exceeded',
      param,
    );
  }
  return wish ?? Math.min(room, fallback ?? room);
}

/** `n` sequences that differ in their seeds only. */
export function sequencesFor(
  service: Service,
  promptTokens: ArrayLike<number>,
  maximumNewTokens: number,
  fields: SamplingFields & { n?: number },
  topLogProbabilities: number,
  firstChoice = 0,
): GenerationRequest[] {
  return Array.from({ length: fields.n ?? 1 }, (_, i) => ({
    promptTokens,
    maximumNewTokens,
    // OpenAI's default, not the engine's.
    temperature: fields.temperature ?? 1,
    topP: fields.top_p ?? 1,
    // vLLM writes "off" as -1.
    topK: Math.max(0, fields.top_k ?? 0),
    minP: fields.min_p ?? 0,
    ...(fields.seed === undefined ? {} : { seed: choiceSeed(fields.seed, firstChoice + i) }),
    ...(service.stopTokens ? { stopTokens: service.stopTokens } : {}),
    topLogProbabilities,
  }));
}

/** The first choice takes the seed itself; the others are far from it, so that `seed: 1` and `seed: 2` share none. */
function choiceSeed(seed: number, choice: number): number {
  return Number(BigInt.asUintN(53, BigInt(seed) + BigInt(choice) * 0x9e3779b97f4a7c15n));
}

export const stopsOf = (stop: string | string[] | undefined): string[] =>
  stop === undefined ? [] : Array.isArray(stop) ? stop : [stop];

export function checkStreamOptions(fields: { stream?: boolean; stream_options?: unknown }): void {
  if (fields.stream_options === undefined || fields.stream === true) return;
  throw new ApiError(400, "'stream_options' only goes with 'stream': true.", 'invalid_value', 'stream_options');
}
