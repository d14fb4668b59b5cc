import { readFile, rm } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs-core';
import { CausalLanguageModel, recomputeModes } from '@xgen-small/model-core';
import { describe, expect, it } from 'vitest';
import { countingDocuments } from '../../test/synthetic-documents';
import { tinyConfig, tinyModel } from '../../test/tiny-model';
import { hashVariables } from '../checkpoint/identity';
import { memoryDocumentSource } from '../data/memory-source';
import { evaluateLoss } from '../evaluate/evaluate-loss';
import type { PretrainMetricsRow } from '../metrics/metrics-row';
import type { PretrainStageInput } from '../stage/stage';

import { folder, run, short, stage, useTemporaryFolder } from '../../test/run-tiny-stage';

useTemporaryFolder();

describe('training', () => {
  it('overfits a tiny corpus and writes a model that loads', async () => {
    const rows: PretrainMetricsRow[] = [];
    const few = memoryDocumentSource(countingDocuments({ documents: 4 }), { vocabularySize: 32 });
    const long = { ...stage, steps: 80, mixture: { even: { share: 1 } } };
    const result = await run(
      { data: few, stage: long, onMetrics: (row) => rows.push(row) },
      async ({ model, modelFolder }) => {
        const loaded = await CausalLanguageModel.load(modelFolder);
        expect(await hashVariables(loaded.parameters)).toBe(await hashVariables(model.parameters));
        loaded.dispose();
      },
    );
    expect(rows).toHaveLength(80);
    expect(rows[0].loss).toBeCloseTo(Math.log(32), 0);
    expect(result.loss).toBeLessThan(0.3);
    const epoch = few.documentLength(0) + few.documentLength(2);
    expect(Math.abs(result.domains.even.epochs - (80 * 128) / epoch)).toBeLessThan((64 * 32) / epoch);
  });

  it('reports what happened in each row', async () => {
    const rows: PretrainMetricsRow[] = [];
    const progress: number[] = [];
    const { metricsFile } = await run({
      metricsEverySteps: 5,
      onMetrics: (row) => rows.push(row),
      onProgress: ({ completed, total }) => progress.push(completed / total!),
    });
    expect(rows.map(({ step, tokens }) => [step, tokens])).toEqual([
      [5, 640],
      [10, 1280],
      [12, 1536],
    ]);
    expect(rows.map(({ learningRate }) => learningRate)).toEqual(
      [0.02, (0.02 * 3) / 6, (0.02 * 1) / 6].map((rate): unknown => expect.closeTo(rate, 12)),
    );
    for (const row of rows) {
      expect(Object.keys(row.lossByDomain)).toEqual(['even', 'odd']);
      const [low, high] = Object.values(row.lossByDomain).sort((a, b) => a - b);
      expect(row.loss).toBeGreaterThan(low);
      expect(row.loss).toBeLessThan(high);
      expect(row.gradientNorm).toBeGreaterThan(0);
      expect(row.tokensPerSecond).toBeGreaterThan(0);
    }
    expect(
      (await readFile(metricsFile, 'utf8'))
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(rows);
    expect(progress[0]).toBe(0);
    expect(progress.at(-1)).toBe(1);
    expect([...progress].sort((a, b) => a - b)).toEqual(progress);
  });

  it('evaluates held-out documents when asked, without changing the training', async () => {
    let trained = '';
    await run({}, async ({ model }) => void (trained = await hashVariables(model.parameters)));
    await rm(folder, { recursive: true });
    const held = memoryDocumentSource(countingDocuments({ seed: 9, documents: 6 }), { vocabularySize: 32 });
    const rows: PretrainMetricsRow[] = [];
    const heldOut = { data: held, everySteps: 5 };
    await run({ heldOut, metricsEverySteps: 4, onMetrics: (row) => rows.push(row) }, async ({ model }) => {
      expect(await hashVariables(model.parameters)).toBe(trained);
      const { overall, domains } = await evaluateLoss({ model, data: held, contextLength: 32 });
      expect(rows.at(-1)!.heldOutLoss).toBeCloseTo(overall.loss, 5);
      expect(rows.at(-1)!.heldOutLossByDomain!.odd).toBeCloseTo(domains.odd.loss, 5);
    });
    expect(rows.map(({ step, heldOutLoss }) => [step, heldOutLoss !== undefined])).toEqual([
      [4, false],
      [5, true],
      [8, false],
      [10, true],
      [12, true],
    ]);
    expect(rows[4].heldOutLoss!).toBeLessThan(rows[1].heldOutLoss!);
  });

  it('gives the same result for any division into micro-batches, up to rounding', async () => {
    // One document a micro-batch, so that the packing is the same.
    const even = {
      ...stage,
      contextLength: 32,
      tokensPerStep: 128,
      packingLookahead: 1,
      mixture: { even: { share: 1 } },
      steps: 4,
    };
    const documents = countingDocuments({ minimumLength: 32, maximumLength: 32 });
    const source = memoryDocumentSource(documents, { vocabularySize: 32 });
    const losses: number[][] = [];
    for (const microBatchTokens of [128, 64, 32]) {
      const rows: number[] = [];
      await rm(folder, { recursive: true });
      await run({ data: source, stage: { ...even, microBatchTokens }, onMetrics: ({ loss }) => rows.push(loss) });
      losses.push(rows);
    }
    for (const rows of losses.slice(1)) rows.forEach((loss, i) => expect(loss).toBeCloseTo(losses[0][i], 4));
  });

  it('holds no more tensors after many steps than after the first', async () => {
    const counts: number[] = [];
    await run({ onMetrics: () => counts.push(tf.memory().numTensors) });
    expect(new Set(counts).size).toBe(1);
    const before = tf.memory().numTensors;
    await rm(folder, { recursive: true });
    await run();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('applies what reduceGradients returns, and frees both', async () => {
    const untouched = await tinyModel();
    const initial = await hashVariables(untouched.parameters);
    untouched.dispose();
    const before = tf.memory().numTensors;
    await run(
      {
        stage: { ...stage, optimizer: { weightDecay: 0 } },
        reduceGradients: (gradients) => new Map([...gradients].map(([name, g]) => [name, tf.zerosLike(g)])),
      },
      async ({ model }) => expect(await hashVariables(model.parameters)).toBe(initial),
    );
    expect(tf.memory().numTensors).toBe(before);
  });

  it('recomputes blocks without changing a byte', async () => {
    const hashes: string[] = [];
    for (const recompute of [...recomputeModes, { block: 1, none: tinyConfig.layers - 1 }]) {
      await rm(folder, { recursive: true });
      await run({ recompute }, async ({ model }) => void hashes.push(await hashVariables(model.parameters)));
    }
    expect(new Set(hashes).size).toBe(1);
  });
});

describe('length extension', () => {
  it('trains the same variables under another RoPE and saves its configuration', async () => {
    const long = memoryDocumentSource(countingDocuments({ minimumLength: 150, maximumLength: 200 }), {
      vocabularySize: 32,
    });
    const extended: PretrainStageInput = {
      ...short,
      contextLength: 128,
      microBatchTokens: 128,
      rope: { base: 80_000 },
      minimumDocumentTokens: 128,
      steps: 2,
    };
    const model = await tinyModel();
    await run({ model, data: long, stage: extended }, async (result) => {
      expect(result.model).not.toBe(model);
      expect(result.model.parameters.get('model.norm.weight')).toBe(model.parameters.get('model.norm.weight'));
      expect(result.model.config).toMatchObject({ ...tinyConfig, maximumPositions: 128, rope: { base: 80_000 } });
      const saved = await CausalLanguageModel.load(result.modelFolder);
      expect(saved.config).toEqual(result.model.config);
      saved.dispose();
    });
  });
});
