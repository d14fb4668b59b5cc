import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../test/support/backend.js';
import { float64Parameters, logProbabilities } from '../../test/support/float64-decoder.js';
import { sums, tinyModel, tinyTokenizer } from '../../test/support/tiny.mjs';
import type { Prompt } from '../data/records.js';
import { rollout, type RolloutOptions } from './rollout.js';

beforeAll(startBackend);

const prompts: Prompt[] = sums(6).map(({ question }) => ({ prompt: [{ role: 'user', content: question }] }));

async function sample(changes: Partial<RolloutOptions> = {}) {
  const model = tinyModel(2);
  try {
    return await rollout({
      model,
      tokenizer: tinyTokenizer,
      prompts,
      samplesPerPrompt: 3,
      maximumNewTokens: 12,
      temperature: 1,
      seed: 5,
      ...changes,
    });
  } finally {
    model.dispose();
  }
}

describe('rollout', () => {
  it('gives samples in the prompts’ order with the policy’s own float64 log-probabilities', async () => {
    const samples = await sample();
    expect(samples.map(({ prompt }) => prompt)).toEqual(prompts.flatMap((prompt) => [prompt, prompt, prompt]));
    const model = tinyModel(2);
    const parameters = float64Parameters(model);
    for (const { promptTokens, completionTokens, logProbabilities: sampled, completion } of samples) {
      const tokens = [...promptTokens, ...completionTokens];
      const expected = logProbabilities(model.config, parameters, tokens, promptTokens.length);
      expected.forEach((value, i) => expect(Math.abs(sampled[i] - value)).toBeLessThan(1e-4));
      const ended = completionTokens.at(-1) === 0;
      expect(completion.finishReason).toBe(ended ? 'stop' : 'length');
      if (!ended) expect(completionTokens).toHaveLength(12);
      expect([...completionTokens].indexOf(0)).toBe(ended ? completionTokens.length - 1 : -1);
      expect(completion.text).toBe(tinyTokenizer.decode(completionTokens));
    }
    expect(new Set(samples.map(({ completionTokens }) => completionTokens.join())).size).toBeGreaterThan(10);
    model.dispose();
  });

  it('does not depend on batching, and frees everything', async () => {
    const whole = await sample();
    const before = tf.memory().numTensors;
    const squeezed = await sample({ cacheTokens: 64, maximumBatchTokens: 18 });
    expect(tf.memory().numTensors).toBe(before);
    expect(squeezed.map(({ completionTokens }) => [...completionTokens])).toEqual(
      whole.map(({ completionTokens }) => [...completionTokens]),
    );
  });
});
