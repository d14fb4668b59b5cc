import { join } from 'node:path';
import { CausalLanguageModel } from '@xgen-small/model-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../test/support/backend.js';
import { filesOf, rowsOf, temporaryFolders } from '../../test/support/folders.js';
import { sumConversation, sums, tinyTokenizer } from '../../test/support/tiny.mjs';
import { withTinyModel } from '../../test/support/with-tiny-model.js';
import type { SupervisedFineTuningStage } from '../run/stage-schemas.js';
import { runSupervisedFineTuning, type SupervisedFineTuningArguments } from './run-supervised-fine-tuning.js';

beforeAll(startBackend);
const newFolder = temporaryFolders();

const conversations = sums(12).map(sumConversation);
const stage: SupervisedFineTuningStage = {
  epochs: 3,
  tokensPerStep: 60,
  contextLength: 32,
  learningRate: { type: 'cosine', peak: 0.01, warmup: { steps: 2 } },
};

async function run(changes: Partial<SupervisedFineTuningArguments> = {}, seed = 1) {
  return withTinyModel(seed, async (model) =>
    runSupervisedFineTuning({
      model,
      tokenizer: tinyTokenizer,
      stage,
      conversations,
      folder: changes.folder ?? (await newFolder()),
      seed: 7,
      ...changes,
    }),
  );
}

describe('runSupervisedFineTuning', () => {
  it('learns, measures held-out loss, and writes metrics and a model that loads', async () => {
    const folder = await newFolder();
    const progress: string[] = [];
    const result = await run({
      folder,
      stage: { ...stage, epochs: 15, evaluateEverySteps: 10 },
      heldOut: conversations.slice(0, 2),
      onProgress: ({ task, completed, total }) => progress.push(`${task} ${completed}/${total}`),
      modelFiles: { 'tokenizer.json': '{}' },
    });
    expect(result.conversations).toEqual({ used: 12, truncated: 0, dropped: 0 });
    expect(result.assistantTokens).toBe(12 * 7 + sums(12).filter(({ answer }) => answer > 9).length);
    expect(result.heldOutLoss!).toBeLessThan(result.heldOutLossBefore! / 2);
    const rows = await rowsOf(result.metricsFile);
    expect(rows.map(({ step }) => step)).toEqual(Array.from({ length: result.steps }, (_, i) => i + 1));
    expect(rows[0].loss).toBeGreaterThan(3);
    expect(rows.at(-1)!.loss).toBe(result.finalLoss);
    expect(rows.filter(({ heldOutLoss }) => heldOutLoss !== undefined).map(({ step }) => step)).toContain(10);
    expect(progress.at(-1)).toBe(`sft ${result.steps}/${result.steps}`);
    expect(await filesOf(result.modelFolder)).toHaveProperty('tokenizer.json');
    const loaded = await CausalLanguageModel.load(result.modelFolder);
    loaded.dispose();
  });

  it('learns with Muon too', async () => {
    const result = await run({ stage: { ...stage, epochs: 10, optimizer: { type: 'muon' } } });
    expect(result.finalLoss).toBeLessThan((await rowsOf(result.metricsFile))[0].loss / 2);
  });

  it('gives the same bytes for the same seed, and however a step is split', async () => {
    const [one, two, other] = [await run(), await run(), await run({ seed: 8 })];
    expect(await filesOf(one.checkpointFolder)).toEqual(await filesOf(two.checkpointFolder));
    expect((await filesOf(other.modelFolder))['model.safetensors']).not.toBe(
      (await filesOf(one.modelFolder))['model.safetensors'],
    );
    const split = await run({ stage: { ...stage, microBatchTokens: 16, recompute: 'allButAttention' } });
    expect(split.finalLoss).toBeCloseTo(one.finalLoss, 3);
  });

  it('refuses, cuts or leaves out conversations longer than the context, and counts them', async () => {
    const long = { messages: [...sumConversation(sums(1)[0]).messages] };
    long.messages = [
      ...long.messages,
      { role: 'user', content: 'and then' },
      { role: 'assistant', content: 'x'.repeat(40) },
    ];
    const hopeless = {
      messages: [
        { role: 'user' as const, content: 'x'.repeat(40) },
        { role: 'assistant' as const, content: 'no' },
      ],
    };
    const data = [...conversations, long, hopeless];
    await expect(run({ conversations: data })).rejects.toThrowError(
      /conversations\[12\] has \d+ tokens, the context 32\..*overlongConversations/,
    );
    const cut = await run({ conversations: data, stage: { ...stage, overlongConversations: 'truncate' } });
    expect(cut.conversations).toEqual({ used: 13, truncated: 1, dropped: 1 });
    const dropped = await run({ conversations: data, stage: { ...stage, overlongConversations: 'drop' } });
    expect(dropped.conversations).toEqual({ used: 12, truncated: 0, dropped: 2 });
    const silent = { messages: [{ role: 'user' as const, content: 'hi' }] };
    await expect(run({ conversations: [...conversations, silent] })).rejects.toMatchObject({ code: 'INVALID_RECORD' });
    await expect(run({ conversations: [] })).rejects.toMatchObject({ code: 'EMPTY_DATA' });
  });

  it('continues after an abort to the same bytes, and finds a finished run finished', async () => {
    const whole = await run();
    const folder = await newFolder();
    const controller = new AbortController();
    let done = 0;
    const interrupted = run({
      folder,
      signal: controller.signal,
      onMetrics: ({ step }) => {
        done = step;
        if (step === 2) controller.abort(new Error('enough'));
      },
    });
    await expect(interrupted).rejects.toMatchObject({ code: 'ABORTED', cause: { message: 'enough' } });
    expect(done).toBe(2);
    const continued = await run({ folder });
    expect(continued.alreadyFinished).toBe(false);
    expect(await filesOf(continued.checkpointFolder)).toEqual(await filesOf(whole.checkpointFolder));
    expect(await filesOf(continued.modelFolder)).toEqual(await filesOf(whole.modelFolder));
    expect((await rowsOf(continued.metricsFile)).map(({ loss }) => loss)).toEqual(
      (await rowsOf(whole.metricsFile)).map(({ loss }) => loss),
    );
    const again = await run({ folder });
    expect(again).toEqual({ ...continued, alreadyFinished: true });
  });

  it('refuses the folder of another recipe, seed, data or model, and says what differs', async () => {
    const { checkpointFolder } = await run();
    const folder = join(checkpointFolder, '../..');
    const mismatch = async (changes: Partial<SupervisedFineTuningArguments>, words: RegExp, seed = 1) => {
      const failure = run({ folder, ...changes }, seed);
      await expect(failure).rejects.toMatchObject({ code: 'RUN_MISMATCH' });
      await expect(failure).rejects.toThrowError(words);
    };
    await mismatch({ stage: { ...stage, tokensPerStep: 61 } }, /stage\.tokensPerStep: 60 there, 61 here/);
    await mismatch({ seed: 9 }, /seed: 7 there, 9 here/);
    await mismatch({ conversations: conversations.slice(1) }, /data: /);
    await mismatch({}, /initialModel\.parameters/, 2);
  });

  it.each([
    [{ ...stage, steps: 4 }, /set exactly one of epochs and steps/],
    [{ ...stage, learningRate: -1 }, /learningRate/],
    [{ ...stage, batchSize: 4 }, /batchSize/],
    [{ ...stage, optimizer: { momentum: 0.9 } }, /optimizer\.momentum: works with type 'muon' only/],
    [{ ...stage, contextLength: 65 }, /contextLength is 65, the model's maximumPositions 64/],
  ])('refuses a wrong stage before anything starts: %#', async (wrong, words) => {
    const failure = run({ stage: wrong });
    await expect(failure).rejects.toMatchObject({ code: 'INVALID_STAGE' });
    await expect(failure).rejects.toThrowError(words);
  });
});
