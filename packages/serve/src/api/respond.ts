/** Runs a request's generation and answers it, whole or as a stream; the two endpoints differ in their formatters only. */

import { generateChoices, type ChoicesRequest, type IndexedDelta } from '../generation/generate-choices.js';
import type { TokenDetail } from '../generation/choice.js';
import { eventStream } from './event-stream.js';
import type { RequestRecord, Service } from './service.js';

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

export interface FinishedChoice {
  index: number;
  text: string;
  details: TokenDetail[];
  finishReason: 'stop' | 'length';
}

export interface Formatter {
  /** The whole answer. */
  whole(choices: FinishedChoice[], usage: Usage): object;
  /** Chunks that open a stream. */
  opening(): object[];
  chunk(delta: IndexedDelta): object;
  /** The last chunk before [DONE], where usage was asked for. */
  usage(usage: Usage): object;
}

export interface Answer {
  choices: ChoicesRequest;
  formatter: Formatter;
  stream: boolean;
  includeUsage: boolean;
}

export async function respond(
  service: Service,
  answer: Answer,
  record: RequestRecord,
  requestSignal: AbortSignal,
  onEnd: (error?: unknown) => void,
): Promise<Response> {
  const gone = new AbortController();
  const signal = AbortSignal.any([requestSignal, gone.signal]);
  const { deltas, completionTokens } = generateChoices(service.loop, service.tokenizer, answer.choices, signal);
  record.completionTokens = completionTokens;
  const usage = (): Usage => {
    const completion = completionTokens();
    return {
      prompt_tokens: record.promptTokens,
      completion_tokens: completion,
      total_tokens: record.promptTokens + completion,
    };
  };
  signal.addEventListener('abort', () => (record.cancelled = true), { once: true });
  const { formatter } = answer;
  if (answer.stream) {
    const chunks = streamChunks(deltas, answer, usage, record);
    return eventStream({ chunks, onEnd, onCancel: () => gone.abort() });
  }
  try {
    const finished = await collect(deltas, answer.choices.sequences.length, record);
    onEnd();
    // Nobody reads what follows a hang-up; the status only goes to the log.
    if (signal.aborted) return new Response(null, { status: 499 });
    return Response.json(formatter.whole(finished, usage()));
  } catch (error) {
    onEnd(error);
    throw error;
  }
}

async function* streamChunks(
  deltas: AsyncGenerator<IndexedDelta[], void, undefined>,
  { formatter, includeUsage }: Answer,
  usage: () => Usage,
  record: RequestRecord,
): AsyncGenerator<object[], void, undefined> {
  try {
    const opening = formatter.opening();
    if (opening.length > 0) yield opening;
    for await (const batch of deltas) {
      record.firstTokenAt ??= performance.now();
      yield batch.map((delta) => formatter.chunk(delta));
    }
    if (includeUsage) yield [formatter.usage(usage())];
  } finally {
    await deltas.return();
  }
}

async function collect(
  deltas: AsyncGenerator<IndexedDelta[], void, undefined>,
  count: number,
  record: RequestRecord,
): Promise<FinishedChoice[]> {
  const choices = Array.from({ length: count }, (_, index): FinishedChoice => ({
    index,
    text: '',
    details: [],
    finishReason: 'length',
  }));
  for await (const batch of deltas) {
    record.firstTokenAt ??= performance.now();
    for (const delta of batch) {
      const choice = choices[delta.index];
      choice.text += delta.text;
      choice.details.push(...delta.details);
      if (delta.finishReason !== undefined) choice.finishReason = delta.finishReason;
    }
  }
  return choices;
}
