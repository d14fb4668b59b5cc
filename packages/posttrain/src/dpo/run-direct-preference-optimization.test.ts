import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../test/support/backend.js';
import { filesOf, rowsOf, temporaryFolders } from '../../test/support/folders.js';
import { sums, tinyTokenizer } from '../../test/support/tiny.mjs';
import { withTinyModel } from '../../test/support/with-tiny-model.js';
import type { Preference } from '../data/records.js';
import type { DirectPreferenceOptimizationStage } from '../run/stage-schemas.js';
import {
  runDirectPreferenceOptimization,
  type DirectPreferenceOptimizationArguments,
} from './run-direct-preference-optimization.js';

beforeAll(startBackend);
const newFolder = temporaryFolders();

const preferences: Preference[] = sums(16).map(({ question, answer }) => ({
  prompt: [{ role: 'user', content: question }],
  chosen: [{ role: 'assistant', content: `#### ${answer}` }],
  rejected: [{ role: 'assistant', content: `it is ${answer}` }],
}));

const stage: DirectPreferenceOptimizationStage = {
  epochs: 2,
  pairsPerStep: 4,
  contextLength: 32,
  learningRate: 3e-3,
};

async function run(changes: Partial<DirectPreferenceOptimizationArguments> = {}, seed = 1) {
  return withTinyModel(seed, async (model) =>
    runDirectPreferenceOptimization({
      model,
      tokenizer: tinyTokenizer,
      stage,
      preferences,
      folder: changes.folder ?? (await newFolder()),
      seed: 7,
      ...changes,
    }),
  );
}

describe('runDirectPreferenceOptimization', () => {
  it.each<[string, Partial<DirectPreferenceOptimizationStage>]>([
    ['sigmoid', {}],
    ['sigmoid with smoothed labels', { labelSmoothing: 0.1 }],
    ['ipo', { loss: 'ipo', beta: 0.2 }],
    ['reference-free', { referenceFree: true }],
  ])('raises the margin, on held-out pairs too: %s', async (_, changes) => {
    const result = await run({
      preferences: preferences.slice(2),
      heldOut: preferences.slice(0, 2),
      stage: { ...stage, ...changes, epochs: 4 },
    });
    const rows = await rowsOf(result.metricsFile);
    expect(result.final.rewardMargin).toBeGreaterThan(rows[0].rewardMargin + 0.3);
    expect(result.final.loss).toBeLessThan(rows[0].loss);
    expect(result.final.accuracy).toBe(1);
    expect(result.heldOut!.accuracy).toBe(1);
    expect(result.heldOut!.rewardMargin).toBeGreaterThan(0.3);
    expect(rows.at(-1)!.heldOutRewardMargin).toBe(result.heldOut!.rewardMargin);
  });

  it('starts where policy and reference are one: loss log 2, margin 0', async () => {
    const [first] = await rowsOf((await run()).metricsFile);
    expect(first.loss).toBeCloseTo(Math.LN2, 6);
    expect(first.rewardMargin).toBeCloseTo(0, 6);
    expect(first.chosenLogProbability).toBeLessThan(-10);
  });

  it('continues after an abort with the first model as reference, to the same bytes', async () => {
    const whole = await run();
    const folder = await newFolder();
    const controller = new AbortController();
    const interrupted = run({
      folder,
      signal: controller.signal,
      onMetrics: ({ step }) => step === 3 && controller.abort(),
    });
    await expect(interrupted).rejects.toMatchObject({ code: 'ABORTED' });
    const continued = await run({ folder });
    expect(await filesOf(continued.checkpointFolder)).toEqual(await filesOf(whole.checkpointFolder));
    expect(continued.final).toEqual(whole.final);
  });

  it('refuses reference log-probabilities of another model, and a damaged file of them', async () => {
    const { checkpointFolder } = await run();
    const folder = join(checkpointFolder, '../..');
    await expect(run({ folder }, 2)).rejects.toMatchObject({ code: 'RUN_MISMATCH' });
    await expect(run({ folder, stage: { ...stage, beta: 0.2 } })).rejects.toThrowError(
      /stage\.beta: 0\.1 there, 0\.2 here/,
    );
    await writeFile(join(folder, 'reference-log-probabilities.safetensors'), 'short');
    await expect(run({ folder })).rejects.toThrowError(/reference-log-probabilities/);
  });

  it('refuses or leaves out pairs longer than the context', async () => {
    const long = { ...preferences[0], chosen: [{ role: 'assistant' as const, content: 'x'.repeat(40) }] };
    await expect(run({ preferences: [...preferences, long] })).rejects.toThrowError(/Pair 16 has a side of 47 tokens/);
    const result = await run({ preferences: [...preferences, long], stage: { ...stage, overlongPairs: 'drop' } });
    expect(result.pairs).toEqual({ used: 16, dropped: 1 });
  });

  it('refuses a wrong stage before anything starts', async () => {
    await expect(run({ stage: { ...stage, loss: 'ipo', labelSmoothing: 0.1 } })).rejects.toThrowError(
      /labelSmoothing: only works/,
    );
  });
});
