import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../test/support/backend.js';
import { filesOf, rowsOf, temporaryFolders } from '../../test/support/folders.js';
import { sums, tinyTokenizer } from '../../test/support/tiny.mjs';
import { withTinyModel } from '../../test/support/with-tiny-model.js';
import type { Prompt } from '../data/records.js';
import { composeRewards, lengthPenalty } from '../rewards/rewards.js';
import type { RewardFunction } from '../rewards/types.js';
import type { ProximalPolicyOptimizationStage } from '../run/stage-schemas.js';
import {
  runProximalPolicyOptimization,
  type ProximalPolicyOptimizationArguments,
} from './run-proximal-policy-optimization.js';

beforeAll(startBackend);
const newFolder = temporaryFolders();

const prompts: Prompt[] = sums(10).map(({ question, answer }) => ({
  prompt: [{ role: 'user', content: question }],
  answer,
}));

/** Share of sevens in the answer. */
const sevens: RewardFunction = (_prompt, { text, tokens }) => [...text].filter((c) => c === '7').length / tokens;

const stage: ProximalPolicyOptimizationStage = {
  iterations: 3,
  promptsPerIteration: 5,
  samplesPerPrompt: 2,
  maximumNewTokens: 5,
  learningRate: 0.01,
  minibatches: 2,
};

async function run(changes: Partial<ProximalPolicyOptimizationArguments> = {}, seed = 1) {
  return withTinyModel(seed, async (model) =>
    runProximalPolicyOptimization({
      model,
      tokenizer: tinyTokenizer,
      stage,
      prompts,
      reward: sevens,
      folder: changes.folder ?? (await newFolder()),
      seed: 7,
      ...changes,
    }),
  );
}

describe('runProximalPolicyOptimization', () => {
  it.each(['shared', 'detached', 'separate'] as const)('raises the reward, value trunk %s', async (valueTrunk) => {
    const result = await run({
      stage: {
        ...stage,
        iterations: 12,
        promptsPerIteration: 16,
        samplesPerPrompt: 1,
        valueTrunk,
        klCoefficient: 0.01,
      },
    });
    expect(result.first.reward).toBeLessThan(0.15);
    expect(result.final.reward).toBeGreaterThan(0.5);
    expect(result.final.referenceKl).toBeGreaterThan(result.first.referenceKl);
    expect(result.final.entropy).toBeLessThan(result.first.entropy);
    const rows = await rowsOf(result.metricsFile);
    expect(rows).toHaveLength(12);
    expect(Math.max(...rows.map(({ explainedVariance }) => explainedVariance))).toBeGreaterThan(0.1);
  });

  it('samples with the log-probabilities that it trains with, at any temperature', async () => {
    for (const temperature of [1, 0.7]) {
      const { metricsFile } = await run({ stage: { ...stage, temperature } });
      for (const { logProbabilityMismatch } of await rowsOf(metricsFile)) {
        expect(logProbabilityMismatch).toBeLessThan(1e-4);
      }
    }
    const strict = run({ stage: { ...stage, maximumLogProbabilityMismatch: 1e-12 } });
    await expect(strict).rejects.toMatchObject({ code: 'LOG_PROBABILITY_MISMATCH' });
  });

  it('is held by the KL penalty: the reward’s pull and the distance both shrink with the coefficient', async () => {
    const longer = { ...stage, iterations: 8, promptsPerIteration: 16, samplesPerPrompt: 1 };
    const free = await run({ stage: { ...longer, klCoefficient: 0 } });
    const held = await run({ stage: { ...longer, klCoefficient: 2 } });
    expect(held.final.referenceKl).toBeLessThan(free.final.referenceKl / 2);
    const adaptive = await run({
      stage: { ...longer, klCoefficient: 0.1, adaptiveKl: { target: 1e-3, horizon: 16 } },
    });
    expect(adaptive.final.klCoefficient).toBeGreaterThan(0.1);
  });

  it('starts at the reference with ratio 1, values 0 and no KL', async () => {
    const { first } = await run({ stage: { ...stage, iterations: 1, updateEpochs: 1, minibatches: 1 } });
    expect(first.referenceKl).toBeCloseTo(0, 5);
    expect(first.approximateKl).toBeCloseTo(0, 6);
    expect(first.clipFraction).toBe(0);
    expect(first.explainedVariance).toBeCloseTo(0, 5);
    // Near uniform over 46 tokens.
    expect(first.entropy).toBeGreaterThan(3);
    expect(first.entropy).toBeLessThan(Math.log(46) + 0.1);
  });

  it('makes no further pass once the update has gone far enough', async () => {
    const { first } = await run({ stage: { ...stage, updateEpochs: 6, targetUpdateKl: 1e-4 } });
    expect(first.updateEpochs).toBeLessThan(6);
    const unlimited = await run({ stage: { ...stage, updateEpochs: 6 } });
    expect(unlimited.first.updateEpochs).toBe(6);
  });

  it('takes composed rewards, penalises what is cut off, and reports the parts', async () => {
    const reward = composeRewards({
      sevens: { reward: sevens, weight: 1 },
      length: { reward: lengthPenalty({ freeTokens: 1, maximumTokens: 5 }), weight: 0.5 },
    });
    const { first } = await run({ reward, stage: { ...stage, truncationPenalty: -0.25 } });
    const parts = first as unknown as Record<string, number>;
    expect(first.reward).toBeCloseTo(
      parts['reward/sevens'] + 0.5 * parts['reward/length'] - 0.25 * first.truncatedShare,
      10,
    );
    expect(first.truncatedShare).toBeGreaterThan(0);
  });

  it('lets its steps be replaced', async () => {
    const seen: number[] = [];
    const { computeAdvantages, scoreRollouts } = await import('../index.js');
    const result = await run({
      steps: {
        scoreRollouts: async (samples, reward, options) => {
          const scored = await scoreRollouts(samples, reward, options);
          seen.push(samples.length);
          return { ...scored, rewards: scored.rewards.map(() => 0.5) };
        },
        computeAdvantages: (rewards, tokens, options) => computeAdvantages(rewards, tokens, { ...options, gamma: 0.9 }),
      },
    });
    expect(seen).toEqual([10, 10, 10]);
    expect(result.final.reward).toBe(0.5);
  });

  it('gives the same bytes for the same seed, and after aborts while sampling and after a step', async () => {
    const whole = await run();
    const folder = await newFolder();
    for (const abortAt of ['sample answers', 'ppo']) {
      const controller = new AbortController();
      const interrupted = run({
        folder,
        signal: controller.signal,
        onProgress: ({ task, completed }) => task === abortAt && completed > 0 && controller.abort(),
      });
      await expect(interrupted).rejects.toMatchObject({ code: 'ABORTED' });
    }
    const continued = await run({ folder });
    expect(await filesOf(continued.checkpointFolder)).toEqual(await filesOf(whole.checkpointFolder));
    expect(await filesOf(continued.modelFolder)).toEqual(await filesOf(whole.modelFolder));
    expect(continued.first).toEqual(whole.first);
    expect(continued.final).toEqual(whole.final);
  });

  it('names a failing reward, prompts too long, missing prompts and another recipe’s folder', async () => {
    await expect(run({ reward: () => Number.NaN })).rejects.toMatchObject({ code: 'REWARD_FAILED' });
    const answered = [{ prompt: [{ role: 'assistant' as const, content: 'hi' }] }];
    await expect(run({ prompts: [...prompts, ...answered] })).rejects.toThrowError(/prompts\[10\]: prompt: must end/);
    await expect(run({ prompts: [] })).rejects.toMatchObject({ code: 'EMPTY_DATA' });
    await expect(run({ stage: { ...stage, maximumNewTokens: 62 } })).rejects.toMatchObject({ code: 'PROMPT_TOO_LONG' });
    await expect(run({ stage: { ...stage, minibatches: 11 } })).rejects.toThrowError(/minibatches: is larger than/);
    const folder = await newFolder();
    await run({ folder });
    await expect(run({ folder, stage: { ...stage, gamma: 0.9 } })).rejects.toThrowError(
      /stage\.gamma: 1 there, 0\.9 here/,
    );
  });
});
