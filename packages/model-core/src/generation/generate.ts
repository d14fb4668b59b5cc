/** All completions of a list of requests: an engine of its own, run to the end, with stop strings. */
import { ModelError } from '../errors.js';
import type { CausalLanguageModel } from '../model/causal-language-model.js';
import { GenerationEngine } from './generation-engine.js';
import { StopStringDetector } from './stop-strings.js';
import type { GenerateOptions, GenerationEvent, GenerationResult, TextGenerationRequest } from './types.js';

/** Default size of the cache, at most: eight long conversations of a small model. */
const defaultCacheTokens = 65536;

interface Progress {
  result: GenerationResult;
  stops: StopStringDetector | undefined;
}

/** Room for all requests at once, up to the default; always for the longest. */
function cacheTokensFor(requests: readonly TextGenerationRequest[], blockSize: number): number {
  const sizes = requests.map(
    ({ promptTokens, maximumNewTokens }) => Math.ceil((promptTokens.length + maximumNewTokens) / blockSize) * blockSize,
  );
  const total = sizes.reduce((sum, size) => sum + size, 0);
  return Math.max(Math.min(total, defaultCacheTokens), ...sizes, 1);
}

/**
 * Runs all requests, batched, and returns their results in the same order. A stop token that ended a completion is
 * its last token; a stop string is cut from `text`. Throws ModelError as GenerationEngine.add does, before anything
 * runs, and ABORTED when the signal fires.
 */
export async function generate(
  model: CausalLanguageModel,
  requests: readonly TextGenerationRequest[],
  options: GenerateOptions = {},
): Promise<GenerationResult[]> {
  const { decode, signal, onEvent, onProgress, blockSize = 16, maximumBatchTokens = 2048 } = options;
  if (requests.length === 0) return [];
  const cacheTokens = options.cacheTokens ?? cacheTokensFor(requests, blockSize);
  const engine = new GenerationEngine(model, { ...options, cacheTokens, blockSize, maximumBatchTokens });
  try {
    const ids: string[] = [];
    const live = new Map<string, Progress>();
    for (const request of requests) {
      if (request.stopStrings?.length && decode === undefined) {
        throw new ModelError('INVALID_ARGUMENT', 'stopStrings were given without a decode callback.', {
          value: request.stopStrings,
          remedy: 'Pass decode: (tokens) => tokenizer.decode(tokens).',
        });
      }
      const id = engine.add(request);
      ids.push(id);
      const stops =
        decode && request.stopStrings?.length ? new StopStringDetector(request.stopStrings, decode) : undefined;
      const result: GenerationResult = { id, tokens: [], logProbabilities: [], finishReason: 'length' };
      if (request.topLogProbabilities) result.topLogProbabilities = [];
      live.set(id, { result, stops });
    }
    const results = new Map([...live].map(([id, { result }]) => [id, result]));
    while (live.size > 0) {
      if (signal?.aborted) {
        throw new ModelError('ABORTED', 'Generation was interrupted.', {
          remedy: 'Call it again.',
          cause: signal.reason,
        });
      }
      for (const event of engine.step()) {
        const progress = live.get(event.id);
        if (progress === undefined) continue; // the confirmation of a stop string's cancellation
        if (!take(progress, event)) {
          onEvent?.(event);
          continue;
        }
        onEvent?.({ ...event, finishReason: progress.result.finishReason });
        engine.cancel(event.id);
        live.delete(event.id);
        if (decode) progress.result.text = progress.stops?.text ?? decode(progress.result.tokens);
        onProgress?.({
          task: 'generate',
          completed: requests.length - live.size,
          total: requests.length,
          unit: 'requests',
        });
      }
      await new Promise(setImmediate);
    }
    return ids.map((id) => results.get(id)!);
  } finally {
    engine.dispose();
  }
}

/** Adds an event to its result; true when the completion is over. */
function take({ result, stops }: Progress, event: GenerationEvent): boolean {
  result.tokens.push(event.token);
  result.logProbabilities.push(event.logProbability);
  if (event.topLogProbabilities) result.topLogProbabilities!.push(event.topLogProbabilities);
  const stopString = stops?.push(event.token);
  if (stopString !== undefined) {
    result.stopString = stopString;
    result.finishReason = 'stop';
    return true;
  }
  if (event.finishReason !== undefined) result.finishReason = event.finishReason;
  return event.finishReason !== undefined;
}
