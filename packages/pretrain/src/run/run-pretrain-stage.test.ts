import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { CausalLanguageModel } from '@xgen-small/model-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countingDocuments } from '../../test/synthetic-documents';
import { tinyConfig, tinyModel } from '../../test/tiny-model';
import { hashVariables } from '../checkpoint/identity';
import { memoryDocumentSource } from '../data/memory-source';
import { PretrainError } from '../errors';
import type { PretrainMetricsRow } from '../metrics/metrics-row';
import type { PretrainStageInput } from '../stage/stage';
import type { PretrainStageOptions, PretrainStageResult } from './options';
import { runPretrainStage } from './run-pretrain-stage';

const data = memoryDocumentSource(countingDocuments(), { vocabularySize: 32 });
const stage: PretrainStageInput = {
  name: 'count',
  contextLength: 32,
  tokensPerStep: 128,
  microBatchTokens: 64,
  steps: 12,
  learningRate: { type: 'warmupStableDecay', peak: 0.02, warmup: { steps: 2 }, decay: { fraction: 0.5 } },
  mixture: { even: { share: 3 }, odd: { share: 1, topFraction: { start: 1, end: 0.5 } } },
};

/** As `stage`, at a constant rate, for any number of steps. */
const short = { ...stage, learningRate: { type: 'warmupStableDecay', peak: 0.02 } } as const;

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'pretrain-run-'))));
afterEach(async () => rm(folder, { recursive: true, force: true }));

/** Runs a fresh tiny model; disposes whatever came out. */
async function run(
  options: Partial<PretrainStageOptions> = {},
  use: (result: PretrainStageResult) => Promise<void> = async () => {},
): Promise<PretrainStageResult> {
  const model = options.model ?? (await tinyModel());
  try {
    const result = await runPretrainStage({ data, stage, folder, seed: 1, ...options, model });
    await use(result);
    if (result.model !== model) result.model.dispose();
    return result;
  } finally {
    model.dispose();
  }
}

async function failure(promise: Promise<unknown>): Promise<PretrainError> {
  const error: unknown = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (PretrainError.isInstance(error)) return error;
  throw error instanceof Error ? error : new Error('Nothing was thrown.');
}

/** Every file below a folder, by relative path; wall-clock fields of the metrics are left out. */
async function contents(root: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const text = (await readFile(path)).toString('latin1');
    files[path.slice(root.length)] = entry.name.endsWith('.jsonl')
      ? text.replaceAll(/,"tokensPerSecond":[^,]*,"seconds":[^}]*/g, '')
      : text;
  }
  return files;
}

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
    for (const recomputeBlocks of [false, true]) {
      await rm(folder, { recursive: true });
      await run({ recomputeBlocks }, async ({ model }) => void hashes.push(await hashVariables(model.parameters)));
    }
    expect(hashes[1]).toBe(hashes[0]);
  });
});

describe('resumption', () => {
  /** Aborts after the given step, as Ctrl-C does. */
  const interrupted = async (step: number, options: Partial<PretrainStageOptions> = {}): Promise<PretrainError> => {
    const controller = new AbortController();
    const onMetrics = (row: PretrainMetricsRow): void => {
      if (row.step === step) controller.abort(new Error('Ctrl-C'));
    };
    return failure(run({ ...options, signal: controller.signal, onMetrics }));
  };

  it('ends with the same bytes after interruptions as without, metrics included', async () => {
    await run();
    const reference = await contents(folder);
    expect(Object.keys(reference).sort()).toEqual([
      '/checkpoints/step-00000012/config.json',
      '/checkpoints/step-00000012/model.safetensors',
      '/checkpoints/step-00000012/trainer-state.json',
      '/checkpoints/step-00000012/training-variables.safetensors',
      '/metrics.jsonl',
      '/model/config.json',
      '/model/model.safetensors',
    ]);
    await rm(folder, { recursive: true });
    for (const step of [1, 5, 6, 11]) {
      const error = await interrupted(step);
      expect(error.code).toBe('ABORTED');
      expect(error.value).toBe(step);
      expect(error.cause).toEqual(new Error('Ctrl-C'));
    }
    const { alreadyFinished } = await run({ checkpoints: { everySteps: 5 } });
    expect(alreadyFinished).toBe(false);
    expect(await contents(folder)).toEqual(reference);
  });

  it('does nothing where all is done, but hands out the trained model', async () => {
    let trained = '';
    await run({}, async ({ model }) => void (trained = await hashVariables(model.parameters)));
    const before = await contents(folder);
    const result = await run({}, async ({ model }) => expect(await hashVariables(model.parameters)).toBe(trained));
    expect(result.alreadyFinished).toBe(true);
    expect(result.domains.even.tokens).toBeGreaterThan(result.domains.odd.tokens);
    expect(await contents(folder)).toEqual(before);
    await rm(join(folder, 'model'), { recursive: true });
    await run();
    expect(await contents(folder)).toEqual(before);
  });

  it('continues with the very model that was interrupted, in one process', async () => {
    await run();
    const reference = await contents(folder);
    await rm(folder, { recursive: true });
    const controller = new AbortController();
    const model = await tinyModel();
    const options = { model, data, stage, folder, seed: 1 };
    const onMetrics = ({ step }: PretrainMetricsRow): void => void (step === 4 && controller.abort());
    await failure(runPretrainStage({ ...options, signal: controller.signal, onMetrics }));
    await runPretrainStage(options);
    model.dispose();
    expect(await contents(folder)).toEqual(reference);
  });

  it('drops metrics rows after the checkpoint, whole and torn', async () => {
    await run();
    const reference = await contents(folder);
    await rm(folder, { recursive: true });
    await interrupted(6);
    const file = join(folder, 'metrics.jsonl');
    const rows = await readFile(file, 'utf8');
    await writeFile(file, `${rows}${rows.split('\n')[0]}\n{"step":8,"los`);
    await run();
    expect(await contents(folder)).toEqual(reference);
  });

  it('takes a stage that goes on from another one’s moments', async () => {
    const [first, second] = [join(folder, 'first'), join(folder, 'second')];
    const options = { data, seed: 1 };
    const model = await tinyModel();
    await runPretrainStage({ ...options, model, stage, folder: first });
    const next = { ...stage, name: 'anneal', learningRate: { type: 'cosine', peak: 0.01 } } as const;
    await runPretrainStage({ ...options, model, stage: next, folder: second, optimizerFrom: first });
    const state = JSON.parse(await readFile(join(second, 'checkpoints/step-00000012/trainer-state.json'), 'utf8')) as {
      state: { optimizerStep: number };
    };
    expect(state.state.optimizerStep).toBe(24);
    const error = await failure(runPretrainStage({ ...options, model, stage: next, folder: second }));
    expect(error.message).toMatch(/optimizer: "[0-9a-f]{64}" there, "fresh" here/);
    model.dispose();
    const wider = await tinyModel({ hiddenSize: 32 });
    const mismatch = failure(
      runPretrainStage({ ...options, model: wider, stage: next, folder: join(folder, 'x'), optimizerFrom: first }),
    );
    expect((await mismatch).message).toMatch(/moments of another model \(hiddenSize: 16 there, 32 here\)/);
    wider.dispose();
  });
});

describe('bad input', () => {
  it('refuses a folder of another run and names what differs', async () => {
    await run({ stage: { ...short, steps: 3 } });
    const other = { ...short, steps: 4, learningRate: { ...short.learningRate, peak: 0.03 } };
    const error = await failure(run({ stage: other, seed: 2, model: await tinyModel({}, 8) }));
    expect(error.code).toBe('RUN_MISMATCH');
    expect(error.message).toMatch(/ {2}- model\.parameters: "[0-9a-f]{64}" there, "[0-9a-f]{64}" here/);
    expect(error.message).toContain('  - seed: 1 there, 2 here\n');
    expect(error.message).toContain('  - stage.learningRate.peak: 0.02 there, 0.03 here\n');
    expect(error.message).toContain('  - stage.steps: 3 there, 4 here');
    const elsewhere = memoryDocumentSource(countingDocuments({ seed: 2 }), { vocabularySize: 32 });
    const dataError = await failure(run({ stage: { ...short, steps: 3 }, data: elsewhere }));
    expect(dataError.message).toMatch(/ {2}- data: "[0-9a-f]{64}" there/);
  });

  it.each(['model.safetensors', 'training-variables.safetensors', 'trainer-state.json'])(
    'names a checkpoint’s damaged %s',
    async (name) => {
      await run({ stage: { ...short, steps: 2 } });
      const path = join(folder, 'checkpoints/step-00000002', name);
      const bytes = await readFile(path);
      await writeFile(path, bytes.subarray(0, bytes.length - 9));
      const truncated = await failure(run({ stage: { ...short, steps: 2 } }));
      expect([truncated.code, truncated.value]).toEqual(['CORRUPT_CHECKPOINT', path]);
      if (name === 'trainer-state.json') return;
      bytes[bytes.length - 10] ^= 1;
      await writeFile(path, bytes);
      const flipped = await failure(run({ stage: { ...short, steps: 2 } }));
      expect(flipped.message).toMatch(/has the SHA-256 [0-9a-f]{64} instead of/);
    },
  );

  it('refuses a later format version and lost metrics rows', async () => {
    await run({ stage: { ...short, steps: 2 } });
    const file = join(folder, 'checkpoints/step-00000002/trainer-state.json');
    const state = await readFile(file, 'utf8');
    await writeFile(file, state.replace('"formatVersion": 1', '"formatVersion": 2'));
    expect((await failure(run({ stage: { ...short, steps: 2 } }))).code).toBe('UNSUPPORTED_CHECKPOINT');
    await writeFile(file, state);
    await writeFile(join(folder, 'metrics.jsonl'), '');
    const lost = await failure(run({ stage: { ...short, steps: 2 } }));
    expect(lost.message).toMatch(/metrics\.jsonl has 0 whole rows; the checkpoint needs 2/);
  });

  it('stops at a loss that is not finite, with the parameters as they were and the last checkpoint named', async () => {
    const model = await tinyModel();
    const embedding = model.parameters.get('model.embed_tokens.weight')!;
    let good = '';
    const options = { model, data, stage, folder, seed: 1, checkpoints: { everySteps: 3 } };
    const error = await failure(
      runPretrainStage({
        ...options,
        onMetrics: ({ step }) => {
          if (step !== 4) return;
          embedding.assign(tf.fill(embedding.shape, Number.NaN));
          good = 'poisoned after step 4';
        },
      }),
    );
    expect(good).not.toBe('');
    expect(error.code).toBe('NON_FINITE_LOSS');
    expect(error.message).toMatch(
      /not finite in step 5; the step was not applied\. The last good checkpoint is .*step-00000003/,
    );
    expect(error.value).toMatchObject({ step: 5, checkpoint: join(folder, 'checkpoints/step-00000003') });
    model.dispose();
    await run();
  });

  it.each([
    [{ seed: -1 }, 'INVALID_ARGUMENT'],
    [{ seed: 1.5 }, 'INVALID_ARGUMENT'],
    [{ metricsEverySteps: 0 }, 'INVALID_ARGUMENT'],
    [{ checkpoints: { everySteps: 0 } }, 'INVALID_ARGUMENT'],
    [{ checkpoints: { everySeconds: -1 } }, 'INVALID_ARGUMENT'],
    [{ optimizerFrom: '/nowhere' }, 'INVALID_ARGUMENT'],
    [{ stage: { ...stage, contextLength: 65, microBatchTokens: 128 } }, 'CONTEXT_TOO_LONG'],
    [{ stage: { ...stage, contextLength: 62, microBatchTokens: 64 } }, 'CONTEXT_TOO_LONG'],
    [{ stage: { ...stage, mixture: { prose: { share: 1 } } } }, 'UNKNOWN_DOMAIN'],
    [{ data: memoryDocumentSource(countingDocuments(), { vocabularySize: 40 }) }, 'VOCABULARY_MISMATCH'],
  ])('refuses %j before it writes anything', async (change, code) => {
    const error = await failure(run(change));
    expect(error.code).toBe(code);
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuses to prepend a begin token that the model lacks', async () => {
    const model = await tinyModel({ bosTokenId: undefined });
    const error = await failure(run({ model, stage: { ...stage, prependBeginToken: true } }));
    expect(error.message).toMatch(/prependBeginToken is true, but the model has no bosTokenId/);
  });

  it('says so when the folder cannot be made', async () => {
    await writeFile(join(folder, 'file'), '');
    const error = await failure(run({ folder: join(folder, 'file', 'stage') }));
    expect(error.message).toMatch(/The folder .* cannot be made: ENOTDIR/);
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
