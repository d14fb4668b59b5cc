/** POST /v1/chat/completions */

import type { IndexedDelta } from '../generation/generate-choices.js';
import { ApiError } from './api-error.js';
import { chatLogprobs } from './log-probabilities.js';
import { parseRequest } from './parse-request.js';
import { chatRequestSchema, type ChatRequest } from './request-schemas.js';
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

export function chatCompletion(service: Service, body: unknown, record: RequestRecord): Answer {
  const request = parseRequest(chatRequestSchema(service), body);
  checkModel(service, request.model);
  checkStreamOptions(request);
  if (request.top_logprobs !== undefined && request.logprobs !== true) {
    throw new ApiError(400, "'top_logprobs' only goes with 'logprobs': true.", 'invalid_value', 'top_logprobs');
  }
  const promptTokens = encodeMessages(service, request);
  record.promptTokens = promptTokens.length;
  const limitField = request.max_completion_tokens === undefined ? 'max_tokens' : 'max_completion_tokens';
  const wish = request.max_completion_tokens ?? request.max_tokens;
  const param = wish === undefined ? 'messages' : limitField;
  const limit = newTokenLimit(service, promptTokens.length, wish, undefined, param);
  const top = request.top_logprobs ?? 0;
  return {
    choices: {
      sequences: sequencesFor(service, promptTokens, limit, request, top),
      stops: stopsOf(request.stop),
      wantsDetails: request.logprobs === true,
    },
    formatter: chatFormatter(service, request, record.id),
    stream: request.stream === true,
    includeUsage: request.stream_options?.include_usage === true,
  };
}

function encodeMessages({ chatTemplate }: Service, { messages }: ChatRequest): ArrayLike<number> {
  if (!chatTemplate) {
    throw new ApiError(
      400,
      'This model has no chat template. Use /v1/completions.',
      'unsupported_endpoint',
      'messages',
    );
  }
  const plain = messages.map(({ role, content }) => ({
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'string' ? content : (content ?? []).map(({ text }) => text).join(''),
  }));
  try {
    return chatTemplate.encodePrompt(plain);
  } catch (cause) {
    // Templates refuse conversations that they have no form for (two user turns in a row, say).
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ApiError(
      400,
      `The chat template refused the messages: ${reason}`,
      'invalid_value',
      'messages',
      {},
      { cause },
    );
  }
}

function chatFormatter(service: Service, request: ChatRequest, id: string): Formatter {
  const { tokenizer, modelName } = service;
  const top = request.top_logprobs ?? 0;
  const created = Math.floor(Date.now() / 1000);
  const includeUsage = request.stream_options?.include_usage === true;
  const logprobs = (details: FinishedChoice['details']) =>
    request.logprobs === true ? chatLogprobs(tokenizer, details, top) : null;
  const chunk = (choices: object[], usage: Usage | null = null): object => ({
    id,
    object: 'chat.completion.chunk',
    created,
    model: modelName,
    choices,
    ...(includeUsage ? { usage } : {}),
  });
  return {
    whole: (choices, usage) => ({
      id,
      object: 'chat.completion',
      created,
      model: modelName,
      choices: choices.map(({ index, text, details, finishReason }) => ({
        index,
        message: { role: 'assistant', content: text, refusal: null },
        logprobs: logprobs(details),
        finish_reason: finishReason,
      })),
      usage,
    }),
    opening: () =>
      Array.from({ length: request.n ?? 1 }, (_, index) =>
        chunk([{ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }]),
      ),
    chunk: ({ index, text, details, finishReason }: IndexedDelta) =>
      chunk([
        {
          index,
          delta: text === '' ? {} : { content: text },
          logprobs: details.length === 0 ? null : logprobs(details),
          finish_reason: finishReason ?? null,
        },
      ]),
    usage: (usage) => chunk([], usage),
  };
}
