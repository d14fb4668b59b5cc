/**
 * Samples answers to prompts with continuous batching. Deterministic: each sample's randomness depends on the seed and
 * its own place, so the result doesn't depend on batching. Memory: the key-value cache, freed before returning.
 */
import { GenerationEngine, RandomGenerator, type CausalLanguageModel } from '@xgen-small/model-core';
import type { ProgressEvent } from '@xgen-small/pretrain';
import type { ChatTokenizer } from '../data/chat-tokenizer.js';
import type { Prompt } from '../data/records.js';
import { PosttrainError } from '../errors.js';
import type { Completion } from '../rewards/types.js';
import { throwIfAborted, yieldToEventLoop } from '../run/abort.js';

/** One sampled answer, in tokens. */
export interface RolloutSample {
  prompt: Prompt;
  promptTokens: Int32Array;
  /** The end of turn included, where it was reached. */
  completionTokens: Int32Array;
  /** Of each completion token, as sampled: temperature 1, unfiltered. */
  logProbabilities: Float32Array;
  completion: Completion;
}

export interface RolloutOptions {
  model: CausalLanguageModel;
  tokenizer: ChatTokenizer;
  prompts: readonly Prompt[];
  samplesPerPrompt: number;
  maximumNewTokens: number;
  /** 0 is greedy. */
  temperature: number;
  seed: number;
  /** Tokens the key-value cache holds; default: all samples at once. */
  cacheTokens?: number;
  /** Tokens of one forward; default 2,048, and no less than the samples. */
  maximumBatchTokens?: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

const cacheBlock = 16;

/** Samples in order, prompt by prompt. Throws PosttrainError PROMPT_TOO_LONG or ABORTED. */
export async function rollout(options: RolloutOptions): Promise<RolloutSample[]> {
  const { model, tokenizer, prompts, samplesPerPrompt, maximumNewTokens, temperature, seed, signal } = options;
  const promptTokens = prompts.map((prompt) => encodePrompt(model, tokenizer, prompt, maximumNewTokens));
  const count = prompts.length * samplesPerPrompt;
  const blocks = promptTokens.reduce(
    (sum, tokens) => sum + Math.ceil((tokens.length + maximumNewTokens) / cacheBlock) * samplesPerPrompt,
    0,
  );
  const engine = new GenerationEngine(model, {
    maximumBatchTokens: options.maximumBatchTokens ?? Math.max(2048, count),
    cacheTokens: options.cacheTokens ?? blocks * cacheBlock,
    blockSize: cacheBlock,
    maximumSequences: count,
    // Samples of one prompt share its keys and values; the weights stay as they are while this engine lives.
    prefixCache: samplesPerPrompt > 1,
  });
  try {
    const random = new RandomGenerator(seed);
    const samples = new Map<
      string,
      { tokens: number[]; logProbabilities: number[]; finishReason: 'stop' | 'length' }
    >();
    for (let sample = 0; sample < count; sample++) {
      const id = String(sample);
      samples.set(id, { tokens: [], logProbabilities: [], finishReason: 'length' });
      engine.add({
        id,
        promptTokens: promptTokens[Math.floor(sample / samplesPerPrompt)],
        maximumNewTokens,
        temperature,
        seed: random.fork(id).nextUint32(),
        stopTokens: [...tokenizer.endOfTurnTokens],
      });
    }
    let finished = 0;
    while (finished < count) {
      throwIfAborted(signal, 'Sampling');
      for (const event of engine.step()) {
        const sample = samples.get(event.id)!;
        sample.tokens.push(event.token);
        sample.logProbabilities.push(event.logProbability);
        if (event.finishReason === undefined) continue;
        sample.finishReason = event.finishReason === 'stop' ? 'stop' : 'length';
        finished++;
      }
      options.onProgress?.({ task: 'sample answers', completed: finished, total: count, unit: 'answers' });
      await yieldToEventLoop();
    }
    return [...samples.values()].map(({ tokens, logProbabilities, finishReason }, i) => {
      const place = Math.floor(i / samplesPerPrompt);
      const completion = { text: tokenizer.decode(tokens), tokens: tokens.length, finishReason };
      return {
        prompt: prompts[place],
        promptTokens: promptTokens[place],
        completionTokens: Int32Array.from(tokens),
        logProbabilities: Float32Array.from(logProbabilities),
        completion,
      };
    });
  } finally {
    engine.dispose();
  }
}

/** The prompt in tokens. Throws PosttrainError PROMPT_TOO_LONG where no answer of `maximumNewTokens` fits behind it. */
export function encodePrompt(
  model: CausalLanguageModel,
  tokenizer: ChatTokenizer,
  { prompt }: Prompt,
  maximumNewTokens: number,
): Int32Array {
  const tokens = Int32Array.from(tokenizer.encodePrompt(prompt));
  const { maximumPositions } = model.config;
  if (tokens.length + maximumNewTokens <= maximumPositions) return tokens;
  throw new PosttrainError(
    'PROMPT_TOO_LONG',
    `The prompt ${JSON.stringify(prompt).slice(0, 200)} has ${tokens.length} tokens; with ${maximumNewTokens} new ones ` +
      `they exceed the model's ${maximumPositions} positions.`,
    { value: tokens.length, remedy: 'Leave it out, or lower maximumNewTokens.' },
  );
}
