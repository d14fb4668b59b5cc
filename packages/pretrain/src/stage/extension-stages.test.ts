import { describe, expect, it } from 'vitest';
import { tinyConfig } from '../../test/tiny-model';
import { extensionStages, type ExtensionOptions } from './extension-stages';
import type { PretrainStageInput } from './stage';

const base: PretrainStageInput = {
  name: 'anneal',
  contextLength: 256,
  tokensPerStep: 4096,
  microBatchTokens: 1024,
  steps: 100,
  learningRate: { type: 'warmupStableDecay', peak: 1e-3 },
  mixture: {
    code: { share: { start: 1, end: 3 }, topFraction: { start: 1, end: 0.25 } },
    text: { share: 1, minimumDocumentTokens: 2000 },
    old: { share: { start: 1, end: 0 } },
  },
  optimizer: { weightDecay: 0.2 },
};
const learningRate = { type: 'cosine', peak: 1e-4 } as const;
const options: ExtensionOptions = {
  stage: base,
  model: tinyConfig,
  steps: [
    { factor: 4, tokens: 50_000, learningRate },
    { factor: 8, tokens: 40_960, learningRate, minimumDocumentTokens: 600 },
  ],
  retrieval: { domain: 'retrieval', share: 0.2 },
};

describe('extensionStages', () => {
  const [first, second] = extensionStages(options);

  it('multiplies the context and raises the base so that the slowest rotation stretches by the factor', () => {
    expect([first.contextLength, second.contextLength]).toEqual([1024, 2048]);
    expect([first.maximumPositions, second.maximumPositions]).toEqual([1024, 2048]);
    expect([first.name, second.name]).toEqual(['anneal-1024', 'anneal-2048']);
    const slowest = (ropeBase: number): number =>
      ropeBase ** (-(tinyConfig.headDimension - 2) / tinyConfig.headDimension);
    expect(slowest(tinyConfig.rope.base) / slowest(first.rope!.base)).toBeCloseTo(4, 9);
    expect(slowest(tinyConfig.rope.base) / slowest(second.rope!.base)).toBeCloseTo(8, 9);
  });

  it('fits the batches to the context and keeps the rest of the base stage', () => {
    expect([first.microBatchTokens, first.tokensPerStep, first.steps]).toEqual([1024, 4096, 13]);
    expect([second.microBatchTokens, second.tokensPerStep, second.steps]).toEqual([2048, 4096, 10]);
    expect(second.optimizer).toEqual({ type: 'adamW', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.2 });
  });

  it('goes on from the mixture that the base stage ends in, on long documents, beside retrieval text', () => {
    expect(first.mixture).toEqual({
      code: { share: expect.closeTo(0.6, 12) as number, topFraction: 0.25, minimumDocumentTokens: 512 },
      text: { share: expect.closeTo(0.2, 12) as number, minimumDocumentTokens: 2000 },
      retrieval: { share: 0.2, minimumDocumentTokens: 2 },
    });
    expect(second.mixture.code.minimumDocumentTokens).toBe(600);
    expect(second.minimumDocumentTokens).toBe(600);
  });

  it('takes a RoPE and an absence of retrieval as given', () => {
    const rope = { base: 10_000, scaling: { type: 'yarn', factor: 4 } } as const;
    const [stage] = extensionStages({
      ...options,
      retrieval: undefined,
      steps: [{ factor: 4, tokens: 1000, learningRate, rope }],
    });
    expect(stage.rope).toEqual(rope);
    expect(Object.keys(stage.mixture)).toEqual(['code', 'text']);
  });

  it.each([
    [{ steps: [] }, /factors are \[\]/],
    [{ steps: [{ factor: 1, tokens: 1, learningRate }] }, /factors are \[1\]/],
    [{ steps: [...options.steps].reverse() }, /factors are \[8, 4\]/],
    [{ retrieval: { domain: 'retrieval', share: 1 } }, /retrieval\.share is 1/],
    [
      { model: { ...tinyConfig, rope: { base: 1e4, scaling: { type: 'linear', factor: 2 } } } },
      /RoPE is scaled already \(linear\)/,
    ],
  ] as [Partial<ExtensionOptions>, RegExp][])('refuses %j', (change, message) => {
    expect(() => extensionStages({ ...options, ...change })).toThrow(message);
  });
});
