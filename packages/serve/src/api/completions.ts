/** POST /v1/completions: one or many prompts, as text or token ids. */

import { ApiError } from './api-error.js';
import { completionLogprobs } from './log-probabilities.js';
import { parseRequest } from './parse-request.js';
import { completionRequestSchema, type CompletionRequest } from './request-schemas.js';
import type { Answer, FinishedChoice, Formatter, Usage } from './respond.js';
import {
  checkModel,
  checkStreamOptions,
  newTokenLimit,
  sequencesFor,
  stopsOf,
  type RequestRecord,
  type Service,
} from './service.js';

/** OpenAI's default for this endpoint. */
const defaultNewTokens = 16;

export function completion(service: Service, body: unknown, record: RequestRecord): Answer {
  const request = parseRequest(completionRequestSchema(service), body);
  checkModel(service, request.model);
  checkStreamOptions(request);
  const n = request.n ?? 1;
  if (request.best_of !== undefined && request.best_of !== n) {
    throw new ApiError(400, "'best_of' other than 'n' is not supported.", 'unsupported_parameter', 'best_of');
  }
  if (request.echo === true && request.logprobs !== undefined) {
    throw new ApiError(
      400,
      "'echo' with 'logprobs' is not supported: prompts have no log-probabilities here.",
      'unsupported_parameter',
      'logprobs',
    );
  }
  const prompts = encodePrompts(service, request);
  if (prompts.length * n > service.maximumChoices) {
    throw new ApiError(
      400,
      `${prompts.length} prompts with ${n} choices each exceed the ${service.maximumChoices} choices of a request.`,
      'array_above_max_length',
      'prompt',
    );
  }
  record.promptTokens = prompts.reduce((sum, tokens) => sum + tokens.length, 0);
  const sequences = prompts.flatMap((tokens, which) => {
    const param = request.max_tokens === undefined ? 'prompt' : 'max_tokens';
    const limit = newTokenLimit(service, tokens.length, request.max_tokens, defaultNewTokens, param);
    return sequencesFor(service, tokens, limit, request, request.logprobs ?? 0, which * n);
  });
  const echoes = prompts.flatMap((tokens) =>
    new Array<string>(n).fill(request.echo === true ? decode(service, tokens) : ''),
  );
  return {
    choices: { sequences, stops: stopsOf(request.stop), wantsDetails: request.logprobs !== undefined },
    formatter: completionFormatter(service, request, record.id, echoes),
    stream: request.stream === true,
    includeUsage: request.stream_options?.include_usage === true,
  };
}

/**
 * Text is encoded with its special tokens: whoever writes a bare prompt writes all of it. An empty one becomes the token that
 * documents begin with.
 */
function encodePrompts({ tokenizer, beginningToken }: Service, { prompt }: CompletionRequest): ArrayLike<number>[] {
  const list: (string | number[])[] =
    typeof prompt === 'string' ? [prompt] : typeof prompt[0] === 'number' ? [prompt as number[]] : (prompt as string[]);
  return list.map((entry) => {
    const tokens = typeof entry === 'string' ? tokenizer.encode(entry, { parseSpecialTokens: true }) : entry;
    if (tokens.length > 0) return tokens;
    if (beginningToken !== undefined) return [beginningToken];
    throw new ApiError(
      400,
      'The prompt is empty, and this model has no token to begin with.',
      'empty_string',
      'prompt',
    );
  });
}

function decode({ tokenizer }: Service, tokens: ArrayLike<number>): string {
  const decoder = tokenizer.createDecoder();
  let text = '';
  try {
    for (let i = 0; i < tokens.length; i++) text += decoder.push(tokens[i]);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ApiError(400, reason, 'invalid_value', 'prompt', {}, { cause });
  }
  return text + decoder.finish();
}

function completionFormatter(
  { tokenizer, modelName }: Service,
  request: CompletionRequest,
  id: string,
  echoes: readonly string[],
): Formatter {
  const created = Math.floor(Date.now() / 1000);
  const includeUsage = request.stream_options?.include_usage === true;
  const envelope = (choices: object[]): object => ({
    id,
    object: 'text_completion',
    created,
    model: modelName,
    choices,
  });
  const chunk = (choices: object[], usage: Usage | null = null): object => ({
    ...envelope(choices),
    ...(includeUsage ? { usage } : {}),
  });
  const choice = (
    index: number,
    text: string,
    details: FinishedChoice['details'],
    finishReason: string | null,
  ): object => ({
    index,
    text,
    logprobs: request.logprobs === undefined ? null : completionLogprobs(tokenizer, details, request.logprobs, 0),
    finish_reason: finishReason,
  });
  return {
    whole: (choices, usage) => ({
      ...envelope(
        choices.map(({ index, text, details, finishReason }) =>
          choice(index, echoes[index] + text, details, finishReason),
        ),
      ),
      usage,
    }),
    opening: () => echoes.flatMap((echo, index) => (echo === '' ? [] : [chunk([choice(index, echo, [], null)])])),
    chunk: ({ index, text, details, finishReason }) => chunk([choice(index, text, details, finishReason ?? null)]),
    usage: (usage) => chunk([], usage),
  };
}
