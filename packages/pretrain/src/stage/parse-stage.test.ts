import { describe, expect, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import { PretrainError } from '../errors';
import { parsePretrainStage, type pretrainStageSchema } from './parse-stage';
import type { PretrainStage, PretrainStageInput } from './stage';

const valid: PretrainStageInput = {
  name: 'base',
  contextLength: 256,
  tokensPerStep: 4096,
  microBatchTokens: 1024,
  tokens: 100_000,
  learningRate: { type: 'warmupStableDecay', peak: 1e-3, warmup: { steps: 5 }, decay: { fraction: 0.2 } },
  mixture: { documentation: { share: 2 }, code: { share: 1, topFraction: { start: 1, end: 0.2 } } },
};

/** The message of the error that a changed stage gives. */
function refusal(change: Record<string, unknown>): string {
  try {
    parsePretrainStage({ ...valid, ...change });
  } catch (error) {
    if (!PretrainError.isInstance(error)) throw error;
    expect(error.code).toBe('INVALID_STAGE');
    return error.message;
  }
  throw new Error('The stage was accepted.');
}

describe('parsePretrainStage', () => {
  it('documents exactly the type that the schema takes', () => {
    expectTypeOf<z.input<typeof pretrainStageSchema>>().toEqualTypeOf<PretrainStageInput>();
    expectTypeOf<PretrainStage>().toExtend<PretrainStageInput>();
  });

  it('fills in every default, and takes its own result unchanged', () => {
    const stage = parsePretrainStage(valid);
    expect(stage).toMatchObject({
      steps: Math.ceil(100_000 / 4096),
      microBatchTokens: 1024,
      optimizer: { type: 'adamW', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
      maximumGradientNorm: 1,
      documentWeights: true,
      minimumDocumentTokens: 2,
      lossOn: 'allTokens',
    });
    expect('tokens' in stage).toBe(false);
    expect(parsePretrainStage(stage)).toEqual(stage);
    expect(parsePretrainStage({ ...valid, microBatchTokens: undefined }).microBatchTokens).toBe(4096);
  });

  it.each([
    [{ learningrate: 1 }, /stage: Unrecognized key: "learningrate"/],
    [{ optimizer: { betas: [0.9] } }, /optimizer: Unrecognized key: "betas"/],
    [{ mixture: { code: { share: 1, weight: 2 } } }, /mixture\.code: Unrecognized key: "weight"/],
    [{ contextLength: -256 }, /contextLength: /],
    [{ contextLength: 2.5 }, /contextLength: /],
    [{ name: 'A stage' }, /name: use lower-case letters/],
    [{ contextLength: 2048 }, /contextLength: 2048 does not fit into a micro-batch of 1024 tokens; raise/],
    [{ microBatchTokens: 1000 }, /microBatchTokens: 1000 does not divide tokensPerStep 4096; choose a divisor/],
    [{ steps: 10 }, /set exactly one of `steps` and `tokens`; both is set/],
    [{ tokens: undefined }, /set exactly one of `steps` and `tokens`; neither is set/],
    [{ optimizer: { momentum: 0.9 } }, /optimizer\.momentum: works with type 'muon' only/],
    [{ mixture: {} }, /mixture: names no domain/],
    [{ mixture: { code: { share: 0 } } }, /mixture\.code\.share: is zero from start to end/],
    [{ mixture: { code: { share: { start: 0, end: 1 } } } }, /every share is zero at the start/],
    [
      { mixture: { code: { share: 1, topFraction: 0 } } },
      /mixture\.code\.topFraction: Too small: expected number to be >0/,
    ],
    [
      { mixture: { code: { share: 'much' } } },
      /mixture\.code\.share: give a number from 0 to 1e6, or \{ start, end \}/,
    ],
    [{ maximumPositions: 128 }, /maximumPositions: 128 is below contextLength 256/],
    [{ learningRate: { type: 'cosine', peak: 1e-4, final: 1e-3 } }, /learningRate\.final: 0\.001 exceeds the peak/],
    [{ learningRate: { type: 'cosine', peak: 1e-4, warmup: { steps: 26 } } }, /warm-up \(26 steps\).*exceed/],
    [{ learningRate: { type: 'cosine', peak: 1e-4, warmup: 0.1 } }, /learningRate\.warmup: give \{ steps/],
    [{ learningRate: { type: 'linear', peak: 1e-4 } }, /learningRate\.type: /],
  ])('refuses %j', (change, message) => {
    expect(refusal(change)).toMatch(message);
  });

  it('gives Muon its momentum', () => {
    const stage = parsePretrainStage({ ...valid, optimizer: { type: 'muon', weightDecay: 0 } });
    expect(stage.optimizer).toMatchObject({ type: 'muon', momentum: 0.95, weightDecay: 0 });
    expect(parsePretrainStage(stage)).toEqual(stage);
  });

  it('names every problem at once', () => {
    expect(refusal({ contextLength: 2048, microBatchTokens: 1000, mixture: {} }).split('\n')).toHaveLength(4);
  });

  it('refuses what is no object', () => {
    expect(() => parsePretrainStage(undefined)).toThrow(/The stage is not valid/);
    expect(() => parsePretrainStage('base')).toThrow(/The stage is not valid/);
  });
});
