import { parameterCount } from '@xgen-small/model-core';
import { describe, expect, it } from 'vitest';
import { tinyConfig } from '../../test/tiny-model';
import { modelFlopsByPart, modelFlopsPerToken } from './model-flops';

describe('modelFlopsPerToken', () => {
  it('is six a parameter that multiplies, plus attention', () => {
    const { blocks, outputHead, attention } = modelFlopsByPart(tinyConfig, 64, { causal: false });
    const norms = (2 * tinyConfig.layers + 1) * tinyConfig.hiddenSize; // no products
    expect(blocks).toBe(6 * (parameterCount(tinyConfig).nonEmbedding - norms));
    expect(outputHead).toBe(6 * 32 * 16);
    expect(attention).toBe(12 * 2 * 16 * 64);
    expect(modelFlopsPerToken(tinyConfig, 64, { causal: false })).toBe(blocks + outputHead + attention);
  });

  it('counts the products of a causal forward pass one by one', () => {
    const { layers, queryHeads, keyValueHeads, headDimension, hiddenSize, intermediateSize, vocabularySize } =
      tinyConfig;
    const length = 5;
    let multiplications = 0;
    for (let query = 0; query < length; query++) {
      for (let layer = 0; layer < layers; layer++) {
        multiplications += hiddenSize * (queryHeads + 2 * keyValueHeads) * headDimension;
        for (let key = 0; key <= query; key++) multiplications += 2 * queryHeads * headDimension;
        multiplications += queryHeads * headDimension * hiddenSize + 3 * hiddenSize * intermediateSize;
      }
      multiplications += hiddenSize * vocabularySize;
    }
    expect(modelFlopsPerToken(tinyConfig, length)).toBeCloseTo((3 * 2 * multiplications) / length, 9);
  });

  it('refuses an impossible context', () => {
    expect(() => modelFlopsPerToken(tinyConfig, 0)).toThrow(/contextLength is 0/);
  });
});
