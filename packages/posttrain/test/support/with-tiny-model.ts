import * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import { expect } from 'vitest';
import { tinyModel } from './tiny.mjs';

/** Runs `train` on a new tiny model and disposes of it; no other tensor may be left over. */
export async function withTinyModel<Result>(
  seed: number,
  train: (model: CausalLanguageModel) => Promise<Result>,
): Promise<Result> {
  const model = tinyModel(seed);
  const before = tf.memory().numTensors;
  try {
    const result = await train(model);
    expect(tf.memory().numTensors).toBe(before);
    return result;
  } finally {
    model.dispose();
  }
}
