/**
 * The requests that are understood. Keys nobody knows are refused, as OpenAI does; fields that only steer OpenAI's own service are
 * taken and ignored; fields that would change the answer in ways this server cannot are refused unless they ask for nothing.
 */

import { z } from 'zod';

const refused = (isNeutral: (value: unknown) => boolean, what: string) =>
  z
    .unknown()
    .refine((value) => value === undefined || value === null || isNeutral(value), {
      error: `this server does not support ${what}`,
      params: { code: 'unsupported_parameter' },
    })
    .optional();

/** `origin: 'int'` is what makes the error speak of an integer. */
const integer = (minimum: number, maximum = Number.MAX_SAFE_INTEGER) =>
  z.int().superRefine((input, context) => {
    const shared = { origin: 'int' as const, inclusive: true, input };
    if (input < minimum) context.addIssue({ code: 'too_small', minimum, ...shared });
    if (input > maximum) context.addIssue({ code: 'too_big', maximum, ...shared });
  });

const isEmpty = (value: unknown): boolean =>
  Array.isArray(value)
    ? value.length === 0
    : typeof value === 'object' && value !== null && Object.keys(value).length === 0;

/** Clients in other languages write an absent field as null. */
const optional = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined);

/** What OpenAI's clients may send along without an effect on the text. */
const ignored = {
  user: z.unknown().optional(),
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
  prompt_cache_retention: z.unknown().optional(),
};

const shared = (limits: { maximumChoices: number }) => ({
  model: z.string(),
  temperature: optional(z.number().min(0).max(2)),
  top_p: optional(z.number().gt(0).max(1)),
  top_k: optional(integer(-1)),
  min_p: optional(z.number().min(0).max(1)),
  seed: optional(z.int()),
  n: optional(integer(1, limits.maximumChoices)),
  stop: optional(z.union([z.string().min(1), z.array(z.string().min(1)).max(4)])),
  stream: optional(z.boolean()),
  stream_options: optional(
    z.strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.unknown().optional() }),
  ),
  presence_penalty: refused((value) => value === 0, 'penalties'),
  frequency_penalty: refused((value) => value === 0, 'penalties'),
  logit_bias: refused(isEmpty, 'a bias on tokens'),
  ...ignored,
});

const textPart = z.looseObject({ type: z.literal('text'), text: z.string() });

const message = z.looseObject({
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: optional(z.union([z.string(), z.array(textPart)])),
  tool_calls: refused(isEmpty, 'tools'),
});

export function chatRequestSchema(limits: { maximumChoices: number }) {
  return z.strictObject({
    ...shared(limits),
    messages: z.array(message).min(1),
    max_tokens: optional(integer(1)),
    max_completion_tokens: optional(integer(1)),
    logprobs: optional(z.boolean()),
    top_logprobs: optional(integer(0, 20)),
    response_format: refused(
      (value) => (value as { type?: unknown }).type === 'text',
      'response formats other than text',
    ),
    tools: refused(isEmpty, 'tools'),
    tool_choice: refused((value) => value === 'none' || value === 'auto', 'tools'),
    parallel_tool_calls: z.unknown().optional(),
    functions: refused(isEmpty, 'functions'),
    function_call: refused((value) => value === 'none' || value === 'auto', 'functions'),
    modalities: refused((value) => Array.isArray(value) && value.length === 1 && value[0] === 'text', 'audio'),
    audio: refused(() => false, 'audio'),
    prediction: refused(() => false, 'predicted outputs'),
    reasoning_effort: refused((value) => value === 'none', 'reasoning effort'),
    verbosity: refused((value) => value === 'medium', 'verbosity'),
    web_search_options: refused(() => false, 'web search'),
  });
}

export function completionRequestSchema(limits: { maximumChoices: number }) {
  return z.strictObject({
    ...shared(limits),
    prompt: z.union([
      z.string(),
      z.array(z.string()).min(1),
      z.array(integer(0)).min(1),
      z.array(z.array(integer(0)).min(1)).min(1),
    ]),
    max_tokens: optional(integer(1)),
    logprobs: optional(integer(0, 20)),
    echo: optional(z.boolean()),
    best_of: optional(integer(1)),
    suffix: refused((value) => value === '', 'insertion before a suffix'),
  });
}

export type ChatRequest = z.infer<ReturnType<typeof chatRequestSchema>>;
export type CompletionRequest = z.infer<ReturnType<typeof completionRequestSchema>>;
