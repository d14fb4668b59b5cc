/**
 * A model in this process, generating through model-core's continuous batching. model-core is an optional peer and is imported
 * only here, when the first prompts arrive. A call holds one key-value cache, freed when it returns; between two forwards the
 * event loop runs, so that timers, progress and interruption work.
 */

import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import { check, tokenLimitOption } from '../validate.js';
import type { ChatRenderer, LocalCausalModel, LocalModelOptions, TextTokenizer } from './options.js';
import { scoreContinuations } from './score-continuations.js';
import type { Completion, GenerateOptions, LanguageModelUnderTest, ModelIdentity, Prompt } from './types.js';
import type { CausalLanguageModel, GenerationEngine, GenerationEvent } from '@xgen-small/model-core';

const optionsSchema = z.strictObject({
  chatTemplate: z
    .custom<ChatRenderer>(
      (value) => typeof (value as ChatRenderer | undefined)?.encodePrompt === 'function',
      'has no encodePrompt()',
    )
    .optional(),
  name: z.string().min(1).optional(),
  stopTokens: z.array(z.int().min(0)).optional(),
  addBosToken: z.boolean().optional(),
  maximumBatchTokens: tokenLimitOption,
  cacheTokens: tokenLimitOption,
});

/** A local model counts tokens and scores continuations too. */
export type LocalModelUnderTest = Required<LanguageModelUnderTest>;

interface Running {
  index: number;
  promptTokens: number;
  tokens: number[];
}

export function localModel(
  model: LocalCausalModel,
  tokenizer: TextTokenizer,
  options: LocalModelOptions = {},
): LocalModelUnderTest {
  check(optionsSchema, options, 'localModel');
  const { config } = model;
  const stopTokens = [
    ...new Set(options.stopTokens ?? [config.eosTokenId ?? [], options.chatTemplate?.endOfTurnTokens ?? []].flat()),
  ];
  const encode = (prompt: Prompt): number[] => encodePrompt(prompt, model, tokenizer, options);

  const generate = async (prompts: readonly Prompt[], generateOptions: GenerateOptions): Promise<Completion[]> => {
    if (prompts.length === 0) return [];
    const { GenerationEngine: Engine } = await importModelCore();
    const encoded = prompts.map(encode);
    const lengths = encoded.map((tokens) => tokens.length + generateOptions.maximumNewTokens);
    const longest = Math.max(...lengths);
    if (longest > config.maximumPositions)
      throw tooLong(longest, generateOptions.maximumNewTokens, config.maximumPositions);
    const engine = new Engine(model as unknown as CausalLanguageModel, {
      maximumBatchTokens: options.maximumBatchTokens ?? 512,
      cacheTokens: Math.max(longest, options.cacheTokens ?? Math.min(longest * Math.min(8, prompts.length), 65_536)),
    });
    try {
      const running = new Map<string, Running>();
      encoded.forEach((promptTokens, index) => {
        const id = engine.add({
          promptTokens,
          maximumNewTokens: generateOptions.maximumNewTokens,
          temperature: generateOptions.temperature ?? 0,
          topK: generateOptions.topK,
          topP: generateOptions.topP,
          minP: generateOptions.minP,
          seed: generateOptions.seeds?.[index],
          stopTokens,
        });
        running.set(id, { index, promptTokens: promptTokens.length, tokens: [] });
      });
      return await drain(engine, running, tokenizer, generateOptions, prompts.length);
    } finally {
      engine.dispose();
    }
  };

  return {
    name: options.name ?? 'local',
    generate,
    identity: () => identify(model),
    countTokens: (prompt) => encode(prompt).length,
    logProbabilities: (pairs, scoreOptions) =>
      scoreContinuations(
        model,
        (text) => encode(text),
        (text) => Array.from(tokenizer.encode(text)),
        pairs,
        scoreOptions,
      ),
  };
}

async function drain(
  engine: GenerationEngine,
  running: Map<string, Running>,
  tokenizer: TextTokenizer,
  { signal, stop = [], onCompletion }: GenerateOptions,
  count: number,
): Promise<Completion[]> {
  const completions = new Array<Completion>(count);
  const finish = (
    id: string,
    sample: Running,
    completion: Omit<Completion, 'promptTokens' | 'completionTokens'>,
  ): void => {
    running.delete(id);
    const { promptTokens, tokens, index } = sample;
    completions[index] = { ...completion, promptTokens, completionTokens: tokens.length };
    onCompletion?.(index, completions[index]);
  };
  const receive = (event: GenerationEvent): void => {
    const sample = running.get(event.id);
    if (!sample || event.token < 0) return;
    sample.tokens.push(event.token);
    const stopped = event.finishReason === 'stop';
    // The stop token itself is no text.
    const text = (): string =>
      tokenizer.decode(stopped ? sample.tokens.slice(0, -1) : sample.tokens, { skipSpecial: true });
    const cut = stop.length === 0 ? undefined : firstStop(text(), stop);
    if (cut !== undefined) {
      if (event.finishReason === undefined) engine.cancel(event.id);
      finish(event.id, sample, { text: cut, finishReason: 'stop' });
    } else if (event.finishReason !== undefined) {
      finish(event.id, sample, { text: text(), finishReason: stopped ? 'stop' : 'length' });
    }
  };
  while (running.size > 0) {
    if (signal?.aborted) {
      throw new EvaluationError('ABORTED', 'Generation was interrupted.', { cause: signal.reason });
    }
    for (const event of engine.step()) receive(event);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return completions;
}

/** The text before the earliest stop string; undefined where none occurs. */
function firstStop(text: string, stop: readonly string[]): string | undefined {
  const positions = stop.map((string) => text.indexOf(string)).filter((position) => position >= 0);
  return positions.length === 0 ? undefined : text.slice(0, Math.min(...positions));
}

function encodePrompt(
  prompt: Prompt,
  model: LocalCausalModel,
  tokenizer: TextTokenizer,
  { chatTemplate, addBosToken = false }: LocalModelOptions,
): number[] {
  if (typeof prompt !== 'string') {
    if (!chatTemplate) {
      throw new EvaluationError('INVALID_OPTIONS', 'A prompt made of messages needs a chat template.', {
        remedy: 'Pass chatTemplate to localModel, or use text prompts.',
      });
    }
    return Array.from(chatTemplate.encodePrompt(prompt));
  }
  const tokens = Array.from(tokenizer.encode(prompt));
  const { bosTokenId } = model.config;
  if (!addBosToken || bosTokenId === undefined) return tokens;
  return [bosTokenId, ...tokens];
}

/** What the model thinks of a text that means nothing: any training step changes it. One forward of 64 tokens. */
async function identify(model: LocalCausalModel): Promise<ModelIdentity> {
  const { vocabularySize, maximumPositions, rope } = model.config;
  const length = Math.min(64, maximumPositions);
  const tokens = Int32Array.from({ length }, (_, i) => (13 + i * 7919) % vocabularySize);
  const targets = Int32Array.from({ length }, (_, i) => (i + 1 < length ? tokens[i + 1] : -100));
  const positions = Int32Array.from({ length }, (_, i) => i);
  const tensor = model.logProbabilities({ tokens, positions, cumulativeLengths: Int32Array.of(0, length) }, targets);
  try {
    const probe = Array.from(await tensor.data()).slice(0, -1);
    return {
      settings: { vocabularySize, maximumPositions, rope: rope ?? null },
      probe: probe.filter((_, i) => i % 4 === 3),
    };
  } finally {
    tensor.dispose();
  }
}

async function importModelCore(): Promise<{ GenerationEngine: typeof GenerationEngine }> {
  try {
    return await import('@xgen-small/model-core');
  } catch (cause) {
    throw new EvaluationError('MISSING_PEER', 'localModel needs @xgen-small/model-core, which cannot be loaded.', {
      remedy: 'Install it beside this package, or evaluate an endpoint with openAiEndpoint.',
      cause,
    });
  }
}

function tooLong(tokens: number, answer: number, maximum: number): EvaluationError {
  return new EvaluationError(
    'CONTEXT_TOO_SHORT',
    `A prompt and its answer take ${tokens} tokens (${answer} of them for the answer), and the model has ${maximum} positions.`,
    { value: tokens, remedy: 'Ask for shorter contexts or answers, or extend the model with withRope.' },
  );
}
