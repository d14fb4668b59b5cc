/** Runs RULER tasks over lengths; scores by the references found in the answer, as the paper does. */

import { z } from 'zod';
import { tokenCounter } from '../model/token-counter.js';
import { runSamples, writeResults } from '../runs/run-samples.js';
import { estimate } from '../statistics/estimate.js';
import { check, functionOption, modelOption, runOptionFields, seedOption } from '../validate.js';
import { generateRulerSamples, sampleSettings, sourceFields } from './generate-samples.js';
import { taskSettings } from './task-settings.js';
import { rulerTaskNames, type RulerOptions, type RulerResult, type RulerSample, type RulerTaskName } from './types.js';

const optionsSchema = z.strictObject({
  ...runOptionFields,
  ...sourceFields,
  model: modelOption,
  tasks: z.array(z.enum(rulerTaskNames)).min(1).optional(),
  lengths: z.array(z.int().positive()).min(1),
  samples: z.int().positive().optional(),
  seed: seedOption,
  countTokens: functionOption,
  tokenizerId: z.string().optional(),
  cacheFolder: z.string().min(1).optional(),
  chat: z.boolean().optional(),
});

export async function ruler(options: RulerOptions): Promise<RulerResult> {
  check(optionsSchema, options, 'ruler');
  const {
    model,
    samples = 100,
    seed = 0,
    tokenizerId,
    cacheFolder,
    chat = false,
    task: name = 'ruler',
    signal,
  } = options;
  const { haystack, squad, hotpot, words } = options;
  const countTokens = tokenCounter(options.countTokens, model, 'ruler');
  const lengths = [...new Set(options.lengths)].sort((a, b) => a - b);
  const tasks = [...new Set(options.tasks ?? rulerTaskNames)];
  const cells = tasks.flatMap((task) => lengths.map((length) => ({ task, length, group: `${task}/${length}` })));
  const sources = { haystack, squad, hotpot, words };
  const pending = cells.flatMap(({ task, length, group }) => {
    // All samples of a cell are made when its first one is asked for, and not at all when the log has them.
    let made: Promise<RulerSample[]> | undefined;
    const make = (): Promise<RulerSample[]> =>
      (made ??= generateRulerSamples({
        ...sources,
        task,
        length,
        samples,
        seed,
        countTokens,
        tokenizerId,
        cacheFolder,
        signal,
      }));
    return Array.from({ length: samples }, (_, index) => ({
      id: `${group}/${index}`,
      group,
      build: async () => {
        const sample = (await make())[index];
        const text = sample.prompt + sample.answerPrefix;
        return {
          prompt: chat ? [{ role: 'user' as const, content: text }] : text,
          references: sample.references,
          promptTokens: sample.promptTokens,
          maximumNewTokens: sample.maximumNewTokens,
          metadata: { task, length },
        };
      },
    }));
  });
  const settings = {
    chat,
    cells: cells.map(({ task, length }) => sampleSettings({ ...sources, task, length, samples, seed, tokenizerId })),
  };
  const records = await runSamples(
    {
      task: name,
      model,
      settings,
      samples: pending,
      seed,
      generation: {
        maximumNewTokens: Math.max(...tasks.map((task) => taskSettings[task].answerTokens)),
        temperature: 0,
      },
      score: (completion, built) => ({
        score: scoreRuler((built.metadata as { task: RulerTaskName }).task, completion.text, built.references),
      }),
    },
    options,
  );
  const scored = cells.map(({ task, length, group }) => ({
    task,
    length,
    score: estimate(records.filter((record) => record.group === group).map((record) => record.score)),
  }));
  const result: RulerResult = {
    task: name,
    model: model.name,
    settings,
    cells: scored,
    byLength: lengths.map((length) => {
      const means = scored.filter((cell) => cell.length === length).map((cell) => cell.score.mean);
      return { length, mean: means.reduce((sum, mean) => sum + mean, 0) / means.length };
    }),
    records,
  };
  return writeResults(result, options);
}

/**
 * Share of the references that occur in the completion, case aside; for questions 1 if any does (RULER's string_match_all and
 * string_match_part).
 */
export function scoreRuler(task: RulerTaskName, completion: string, references: readonly string[]): number {
  const text = completion.toLowerCase();
  const found = references.filter((reference) => text.includes(reference.toLowerCase())).length;
  if (taskSettings[task].kind === 'questions') return found > 0 ? 1 : 0;
  return references.length === 0 ? 0 : found / references.length;
}
