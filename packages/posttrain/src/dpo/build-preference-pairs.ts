/**
 * Preference pairs from a model's own answers: samples several a prompt, verifies them, and sets a right one against a
 * wrong one. Costs one sampling of `samplesPerPrompt` answers a prompt; deterministic for a seed.
 */
import { RandomGenerator, type CausalLanguageModel } from '@xgen-small/model-core';
import type { ProgressEvent } from '@xgen-small/pretrain';
import type { ChatTokenizer } from '../data/chat-tokenizer.js';
import { checkedRecords, promptSchema, type ChatMessage, type Preference, type Prompt } from '../data/records.js';
import { PosttrainError } from '../errors.js';
import type { Verifier } from '../rewards/types.js';
import { rollout, type RolloutSample } from '../rollout/rollout.js';

export interface BuildPreferencePairsArguments {
  model: CausalLanguageModel;
  tokenizer: ChatTokenizer;
  prompts: Iterable<Prompt> | AsyncIterable<Prompt>;
  verifier: Verifier;
  seed: number;
  samplesPerPrompt: number;
  maximumNewTokens: number;
  /** Default 1. */
  temperature?: number;
  /** Most pairs of one prompt; default 1. */
  pairsPerPrompt?: number;
  /**
   * The answer to use as chosen where no sample is right: the name of a prompt's field, or a function. Default: such
   * prompts give no pair.
   */
  referenceSolution?: string | ((prompt: Prompt) => string | undefined);
  /** Prompts sampled at once; default 32. */
  promptsPerBatch?: number;
  /** Stop after this many pairs. */
  maximumPairs?: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

export interface PreferencePairs {
  pairs: Preference[];
  statistics: {
    prompts: number;
    samples: number;
    rightSamples: number;
    /** Cut off at `maximumNewTokens`: never part of a pair, since they have no end. */
    truncatedSamples: number;
    promptsAllRight: number;
    /** Prompts without a right answer, the reference solution included. */
    promptsAllWrong: number;
    referenceSolutionsUsed: number;
  };
}

export async function buildPreferencePairs(options: BuildPreferencePairsArguments): Promise<PreferencePairs> {
  const { promptsPerBatch = 32, maximumPairs = Infinity, seed } = options;
  const result: PreferencePairs = {
    pairs: [],
    statistics: {
      prompts: 0,
      samples: 0,
      rightSamples: 0,
      truncatedSamples: 0,
      promptsAllRight: 0,
      promptsAllWrong: 0,
      referenceSolutionsUsed: 0,
    },
  };
  let batch: Prompt[] = [];
  let batches = 0;
  const flush = async (): Promise<void> => {
    const { model, tokenizer, samplesPerPrompt, maximumNewTokens, temperature = 1, signal } = options;
    const samples = await rollout({
      model,
      tokenizer,
      prompts: batch,
      samplesPerPrompt,
      maximumNewTokens,
      temperature,
      seed: new RandomGenerator(seed).fork(`pairs ${batches++}`).nextUint32(),
      signal,
    });
    for (let i = 0; i < batch.length; i++) {
      await addPairs(result, batch[i], samples.slice(i * samplesPerPrompt, (i + 1) * samplesPerPrompt), options);
    }
    batch = [];
    const { prompts } = result.statistics;
    options.onProgress?.({
      task: 'build pairs',
      completed: prompts,
      unit: 'prompts',
      detail: `${result.pairs.length} pairs`,
    });
  };
  for await (const prompt of checkedRecords(options.prompts, promptSchema, 'prompts')) {
    batch.push(prompt);
    if (batch.length === promptsPerBatch) await flush();
    if (result.pairs.length >= maximumPairs) break;
  }
  if (batch.length > 0 && result.pairs.length < maximumPairs) await flush();
  result.pairs.length = Math.min(result.pairs.length, maximumPairs);
  return result;
}

async function addPairs(
  { pairs, statistics }: PreferencePairs,
  prompt: Prompt,
  samples: readonly RolloutSample[],
  { verifier, pairsPerPrompt = 1, referenceSolution }: BuildPreferencePairsArguments,
): Promise<void> {
  const right = new Set<string>();
  const wrong = new Set<string>();
  let rightSamples = 0;
  for (const { completion } of samples) {
    statistics.samples++;
    if (completion.finishReason === 'length') {
      statistics.truncatedSamples++;
      continue;
    }
    const verified = await verifier.verify(prompt, completion);
    if (verified) rightSamples++;
    // An empty answer has no tokens but its end, and the file format has no place for it.
    if (completion.text !== '') (verified ? right : wrong).add(completion.text);
  }
  statistics.prompts++;
  statistics.rightSamples += rightSamples;
  if (rightSamples === samples.length) statistics.promptsAllRight++;
  if (right.size === 0) {
    const solution = await verifiedSolution(prompt, verifier, referenceSolution);
    if (solution === undefined) statistics.promptsAllWrong++;
    else if (wrong.size > 0) {
      right.add(solution);
      statistics.referenceSolutionsUsed++;
    }
  }
  const chosen = [...right];
  const rejected = [...wrong];
  const count = Math.min(pairsPerPrompt, rejected.length, chosen.length === 0 ? 0 : Infinity);
  for (let i = 0; i < count; i++) {
    const answer = (content: string): ChatMessage[] => [{ role: 'assistant', content }];
    pairs.push({
      prompt: prompt.prompt,
      chosen: answer(chosen[i % chosen.length]),
      rejected: answer(rejected[i]),
    });
  }
}

async function verifiedSolution(
  prompt: Prompt,
  verifier: Verifier,
  referenceSolution: BuildPreferencePairsArguments['referenceSolution'],
): Promise<string | undefined> {
  if (referenceSolution === undefined) return undefined;
  const solution: unknown =
    typeof referenceSolution === 'string' ? prompt[referenceSolution] : referenceSolution(prompt);
  if (solution === undefined) return undefined;
  const where = `the prompt ${JSON.stringify(prompt.prompt).slice(0, 200)}`;
  if (typeof solution !== 'string' || solution === '') {
    throw new PosttrainError('MISSING_FIELD', `The reference solution of ${where} is ${JSON.stringify(solution)}.`, {
      value: solution,
      remedy: 'Give a non-empty string, or leave it out.',
    });
  }
  const completion = { text: solution, tokens: 0, finishReason: 'stop' as const };
  if (await verifier.verify(prompt, completion)) return solution;
  throw new PosttrainError('MISSING_FIELD', `The reference solution of ${where} is not right by "${verifier.name}".`, {
    value: solution,
    remedy: 'Correct the solution or the answer it is verified against.',
  });
}
