import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { countingDocuments } from '../../test/synthetic-documents';
import { tinyModel } from '../../test/tiny-model';
import { memoryDocumentSource } from '../data/memory-source';
import { parsePretrainStage } from '../stage/parse-stage';

import { runPretrainStage } from './run-pretrain-stage';

import { data, failure, folder, run, short, stage, useTemporaryFolder } from '../../test/run-tiny-stage';

useTemporaryFolder();

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
    [{ heldOut: { data, everySteps: 0.5 } }, 'INVALID_ARGUMENT'],
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

  it('refuses to compute more blocks again than the model has, before anything is written', async () => {
    const refused = run({ stage: { ...stage, recompute: { block: 99 } } });
    await expect(refused).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('99 blocks') as string,
    });
    await expect(run({ recompute: { none: 0 } })).rejects.toThrow(/recompute counts 0 blocks/);
    expect(() => parsePretrainStage({ ...stage, recompute: 'everything' })).toThrow(
      /recompute: give one of none, elementwise/,
    );
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
