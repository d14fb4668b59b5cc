import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../test/support/backend.js';
import { float64Parameters, logProbabilities } from '../../test/support/float64-decoder.js';
import { tinyModel, tinyTokenizer } from '../../test/support/tiny.mjs';
import type { ChatMessage } from '../data/records.js';
import { countTargets, packSequences, type TargetSequence } from '../model/packed-sequences.js';
import { assistantLoss, supervisedLoss } from './run-supervised-fine-tuning.js';

beforeAll(startBackend);

const say = (...contents: string[]): ChatMessage[] =>
  contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));

function sequence(messages: ChatMessage[]): TargetSequence {
  const { tokens, assistantMask } = tinyTokenizer.encodeConversation(messages);
  return { tokens: Int32Array.from(tokens), targetMask: Uint8Array.from(assistantMask) };
}

const conversations = [say('2+2', '4', 'why?', 'so it is'), say('hi', 'hello'), say('name', 'ada')].map(sequence);

describe('the supervised loss', () => {
  it('is the float64 mean of −log p over assistant tokens, ends of turn included, packed or alone', async () => {
    const model = tinyModel();
    const parameters = float64Parameters(model);
    let sum = 0;
    let count = 0;
    for (const { tokens, targetMask } of conversations) {
      logProbabilities(model.config, parameters, tokens, 1).forEach((logProbability, i) => {
        if (targetMask[i + 1] === 0) return;
        sum -= logProbability;
        count++;
      });
    }
    // "4", "so it is", "hello", "ada" and their four ends.
    expect(count).toBe(1 + 8 + 5 + 3 + 4);
    for (const microBatchTokens of [1, 20, 1000]) {
      expect(await assistantLoss(model, conversations, microBatchTokens)).toBeCloseTo(sum / count, 5);
    }
    model.dispose();
  });

  it('is carried by assistant tokens alone: each of them changes it, what no assistant token follows never does', () => {
    const model = tinyModel();
    const loss = (messages: ChatMessage[]): number => {
      const packed = packSequences([sequence(messages)]);
      const value = supervisedLoss(model, packed, 1);
      const number = value.dataSync()[0];
      value.dispose();
      return number;
    };
    const base = loss(say('2+2', '4', 'why?', 'math', 'ok'));
    for (const other of ['no', 'really ok', 'zzzzzzzz'])
      expect(loss(say('2+2', '4', 'why?', 'math', other))).toBe(base);
    expect(loss(say('2+2', '5', 'why?', 'math', 'ok'))).not.toBeCloseTo(base, 4);
    expect(loss(say('2+2', '4', 'why?', 'mats', 'ok'))).not.toBeCloseTo(base, 4);
    // A target at the very start has nothing before it that could predict it.
    const start = { tokens: Int32Array.of(3, 8, 0), targetMask: Uint8Array.of(1, 1, 1) };
    expect(countTargets(start)).toBe(2);
    expect([...packSequences([start]).targets]).toEqual([8, 0]);
    model.dispose();
  });

  it('leaves no tensor behind', async () => {
    const model = tinyModel();
    const before = tf.memory().numTensors;
    await assistantLoss(model, conversations, 30);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });
});
