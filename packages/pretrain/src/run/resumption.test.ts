import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tinyModel } from '../../test/tiny-model';
import { hashVariables } from '../checkpoint/identity';
import type { PretrainError } from '../errors';
import type { PretrainMetricsRow } from '../metrics/metrics-row';
import type { PretrainStageOptions } from './options';
import { runPretrainStage } from './run-pretrain-stage';

import { contents, data, failure, folder, run, stage, useTemporaryFolder } from '../../test/run-tiny-stage';

useTemporaryFolder();

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

  it('holds for Muon too, whose moments another optimizer refuses', async () => {
    const muon = { ...stage, optimizer: { type: 'muon' } } as const;
    await run({ stage: muon });
    const reference = await contents(folder);
    await rm(folder, { recursive: true });
    await interrupted(5, { stage: muon });
    await run({ stage: muon });
    expect(await contents(folder)).toEqual(reference);
    const error = await failure(run({ folder: join(folder, 'next'), optimizerFrom: folder }));
    expect(error.message).toMatch(/has the moments of muon, not of adamW/);
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
