/**
 * Needle retrieval over a grid of context lengths and depths: accuracy a cell, with its interval, and every sample in the log.
 * Prompts fill each length exactly; a sample depends on the seed and its cell only.
 */

import { z } from 'zod';
import { tokenCounter } from '../model/token-counter.js';
import type { Completion } from '../model/types.js';
import { sha256 } from '../random.js';
import { runSamples, writeResults } from '../runs/run-samples.js';
import { estimate } from '../statistics/estimate.js';
import { check, functionOption, modelOption, runOptionFields, seedOption, tokenLimitOption } from '../validate.js';
import { defaultNeedleTemplate, needleSample } from './needle-sample.js';
import type { NeedleGridOptions, NeedleGridResult } from './types.js';

const templateSchema = z.strictObject({
  needle: z.string(),
  question: z.string(),
  prompt: z.string().optional(),
  chat: z.boolean().optional(),
});

const optionsSchema = z.strictObject({
  ...runOptionFields,
  model: modelOption,
  lengths: z.array(z.int().positive()).min(1),
  depths: z.array(z.number().min(0).max(1)).min(1),
  samples: z.int().positive().optional(),
  seed: seedOption,
  haystack: z.array(z.string()).min(1),
  template: templateSchema.optional(),
  keys: z.array(z.string().min(1)).min(1).optional(),
  values: z.union([z.array(z.string().min(1)).min(1), z.strictObject({ digits: z.int().min(1).max(15) })]).optional(),
  distractors: z.int().min(0).optional(),
  maximumNewTokens: tokenLimitOption,
  stop: z.array(z.string().min(1)).optional(),
  scoring: z.enum(['contains', 'exact', 'starts']).optional(),
  countTokens: functionOption,
});

export async function needleRetrievalGrid(options: NeedleGridOptions): Promise<NeedleGridResult> {
  check(optionsSchema, options, 'needleRetrievalGrid');
  const { model, haystack, keys, values, distractors = 0, stop, scoring = 'contains', task = 'needle' } = options;
  const { samples = 10, seed = 0, maximumNewTokens = 16, template = defaultNeedleTemplate } = options;
  const lengths = [...new Set(options.lengths)].sort((a, b) => a - b);
  const depths = [...new Set(options.depths)].sort((a, b) => a - b);
  const countTokens = tokenCounter(options.countTokens, options.model, 'needleRetrievalGrid');
  const settings = {
    lengths,
    depths,
    samples,
    seed,
    template,
    keys: keys ?? 'built-in',
    values: values ?? { digits: 7 },
    distractors,
    maximumNewTokens,
    stop: stop ?? [],
    scoring,
    haystackSha256: sha256(JSON.stringify(haystack)),
  };
  const cells = lengths.flatMap((length) => depths.map((depth) => ({ length, depth, group: `${length}/${depth}` })));
  const pending = cells.flatMap(({ length, depth, group }) =>
    Array.from({ length: samples }, (_, index) => ({
      id: `${group}/${index}`,
      group,
      build: () => {
        const context = { haystack, template, keys, values, distractors, countTokens };
        const sample = needleSample({ ...context, length: length - maximumNewTokens, depth, seed, index });
        const { prompt, key, value, promptTokens, actualDepth } = sample;
        return { prompt, references: [value], promptTokens, metadata: { key, length, depth, actualDepth } };
      },
    })),
  );
  const records = await runSamples(
    {
      task,
      model,
      settings,
      samples: pending,
      seed,
      generation: { maximumNewTokens, temperature: 0, stop },
      score: (completion, { references }) => ({ score: scoreNeedle(completion, references[0] ?? '', scoring) }),
    },
    options,
  );
  const scoresOf = (matches: (group: string) => boolean) =>
    estimate(records.filter((record) => matches(record.group)).map((record) => record.score));
  const scored = cells.map(({ length, depth, group }) => ({ length, depth, accuracy: scoresOf((g) => g === group) }));
  const result: NeedleGridResult = {
    task,
    model: model.name,
    settings,
    lengths,
    depths,
    matrix: lengths.map((length) => scored.filter((cell) => cell.length === length).map((cell) => cell.accuracy.mean)),
    cells: scored,
    byLength: lengths.map((length) => ({ length, accuracy: scoresOf((group) => group.startsWith(`${length}/`)) })),
    overall: scoresOf(() => true),
    records,
  };
  return writeResults(result, options);
}

function scoreNeedle(completion: Completion, value: string, scoring: 'contains' | 'exact' | 'starts'): number {
  const text = completion.text.trim();
  if (scoring === 'contains') return text.includes(value) ? 1 : 0;
  if (scoring === 'starts') return text.startsWith(value) ? 1 : 0;
  return text.replace(/[.\s]+$/, '') === value ? 1 : 0;
}
