/**
 * Any server with OpenAI's API: text prompts go to `/completions`, messages to `/chat/completions`. Requests run
 * `concurrency` at a time; the first that fails for good stops the rest.
 */

import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import { check, functionOption } from '../validate.js';
import { postJson } from './http-client.js';
import type { OpenAiEndpointOptions } from './options.js';
import type { Completion, GenerateOptions, LanguageModelUnderTest, Prompt } from './types.js';

const optionsSchema = z.strictObject({
  baseUrl: z.url({ protocol: /^https?$/, error: 'is no http(s) URL' }),
  model: z.string().min(1),
  apiKey: z.string().min(1).optional(),
  name: z.string().min(1).optional(),
  concurrency: z.int().positive().optional(),
  timeout: z.number().positive().optional(),
  retries: z.int().min(0).optional(),
  retryDelay: z.number().min(0).optional(),
  extraBody: z.record(z.string(), z.unknown()).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  chatLimitField: z.enum(['max_tokens', 'max_completion_tokens']).optional(),
  extendedSampling: z.boolean().optional(),
  countTokens: functionOption,
  fetch: functionOption,
});

const responseSchema = z.object({
  choices: z
    .array(
      z.object({
        text: z.string().optional(),
        message: z.object({ content: z.string().nullish() }).optional(),
        finish_reason: z.string().nullish(),
      }),
    )
    .min(1),
  usage: z.object({ prompt_tokens: z.number().optional(), completion_tokens: z.number().optional() }).nullish(),
});

export function openAiEndpoint(options: OpenAiEndpointOptions): LanguageModelUnderTest {
  check(optionsSchema, options, 'openAiEndpoint');
  const { concurrency = 8, countTokens } = options;
  const base = options.baseUrl.replace(/\/+$/, '');
  const complete = async (prompt: Prompt, index: number, generate: GenerateOptions, signal: AbortSignal) => {
    const chat = typeof prompt !== 'string';
    const url = `${base}${chat ? '/chat/completions' : '/completions'}`;
    const answer = await postJson(url, requestBody(prompt, index, generate, options), options, signal);
    return readCompletion(url, answer);
  };
  return {
    name: options.name ?? options.model,
    async generate(prompts, generate) {
      const stop = new AbortController();
      const signal = generate.signal ? AbortSignal.any([generate.signal, stop.signal]) : stop.signal;
      const completions = new Array<Completion>(prompts.length);
      let next = 0;
      let failure: unknown;
      const worker = async (): Promise<void> => {
        for (let index = next++; index < prompts.length && !signal.aborted; index = next++) {
          try {
            const completion = await complete(prompts[index], index, generate, signal);
            completions[index] = completion;
            generate.onCompletion?.(index, completion);
          } catch (error) {
            failure ??= error;
            stop.abort();
          }
        }
      };
      await Promise.all(Array.from({ length: Math.min(concurrency, prompts.length) }, worker));
      if (failure !== undefined) throw failure as Error;
      if (generate.signal?.aborted) {
        throw new EvaluationError('ABORTED', `Requests to ${base} were interrupted.`, {
          cause: generate.signal.reason,
        });
      }
      return completions;
    },
    ...(countTokens ? { countTokens } : {}),
  };
}

function requestBody(
  prompt: Prompt,
  index: number,
  generate: GenerateOptions,
  options: OpenAiEndpointOptions,
): Record<string, unknown> {
  const limit = typeof prompt === 'string' ? 'max_tokens' : (options.chatLimitField ?? 'max_tokens');
  const seed = generate.seeds?.[index];
  return {
    model: options.model,
    ...(typeof prompt === 'string' ? { prompt } : { messages: prompt }),
    [limit]: generate.maximumNewTokens,
    temperature: generate.temperature ?? 0,
    ...(generate.topP === undefined ? {} : { top_p: generate.topP }),
    ...(generate.stop === undefined || generate.stop.length === 0 ? {} : { stop: generate.stop }),
    ...(seed === undefined ? {} : { seed }),
    ...(options.extendedSampling === true && generate.topK !== undefined ? { top_k: generate.topK } : {}),
    ...(options.extendedSampling === true && generate.minP !== undefined ? { min_p: generate.minP } : {}),
    ...options.extraBody,
  };
}

function readCompletion(url: string, answer: unknown): Completion {
  const result = responseSchema.safeParse(answer);
  if (!result.success) {
    throw new EvaluationError('ENDPOINT_BAD_RESPONSE', `${url} answered without OpenAI's choices.`, {
      value: JSON.stringify(answer).slice(0, 200),
      cause: result.error,
    });
  }
  const { choices, usage } = result.data;
  const [choice] = choices;
  const reason = choice.finish_reason;
  return {
    text: choice.text ?? choice.message?.content ?? '',
    finishReason: reason === 'stop' || reason === 'length' ? reason : 'other',
    ...(usage?.prompt_tokens === undefined ? {} : { promptTokens: usage.prompt_tokens }),
    ...(usage?.completion_tokens === undefined ? {} : { completionTokens: usage.completion_tokens }),
  };
}
