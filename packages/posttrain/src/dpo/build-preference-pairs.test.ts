import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../test/support/backend.js';
import { temporaryFolders } from '../../test/support/folders.js';
import { sums, tinyModel, tinyTokenizer } from '../../test/support/tiny.mjs';
import { readPreferences } from '../data/readers.js';
import type { Preference, Prompt } from '../data/records.js';
import { writeJsonLines } from '../data/write-json-lines.js';
import { numericAnswerVerifier } from '../rewards/numeric-answer.js';
import type { Verifier } from '../rewards/types.js';
import { buildPreferencePairs, type BuildPreferencePairsArguments } from './build-preference-pairs.js';

beforeAll(startBackend);
const newFolder = temporaryFolders();

const prompts: Prompt[] = sums(9).map(({ question, answer }) => ({
  prompt: [{ role: 'user', content: question }],
  answer,
  solution: `#### ${answer}`,
}));

/** A model of random weights ends its answers at random. */
const isShort = (text: string): boolean => text.length < 12;
const shortAnswer: Verifier = { name: 'a short answer', verify: (_prompt, { text }) => isShort(text) };

async function build(changes: Partial<BuildPreferencePairsArguments> = {}) {
  const model = tinyModel(5);
  const before = tf.memory().numTensors;
  try {
    const result = await buildPreferencePairs({
      model,
      tokenizer: tinyTokenizer,
      prompts,
      verifier: shortAnswer,
      seed: 3,
      samplesPerPrompt: 12,
      maximumNewTokens: 40,
      temperature: 1.5,
      ...changes,
    });
    expect(tf.memory().numTensors).toBe(before);
    return result;
  } finally {
    model.dispose();
  }
}

const textOf = (messages: Preference['chosen']): string => messages[0].content;

describe('buildPreferencePairs', () => {
  it('sets a right answer against a wrong one of the same prompt, and counts what it saw', async () => {
    const { pairs, statistics } = await build({ promptsPerBatch: 4, pairsPerPrompt: 2 });
    expect(pairs.length).toBeGreaterThan(2);
    for (const { chosen, rejected, prompt } of pairs) {
      expect(isShort(textOf(chosen))).toBe(true);
      expect(isShort(textOf(rejected))).toBe(false);
      expect(prompts.map((each) => each.prompt)).toContainEqual(prompt);
    }
    const perPrompt = prompts.map(
      (each) => pairs.filter(({ prompt }) => textOf(prompt) === textOf(each.prompt)).length,
    );
    expect(Math.max(...perPrompt)).toBeLessThanOrEqual(2);
    expect(statistics).toMatchObject({ prompts: 9, samples: 108, referenceSolutionsUsed: 0 });
    expect(statistics.rightSamples).toBeGreaterThan(0);
    expect(statistics.rightSamples + statistics.truncatedSamples).toBeLessThan(108);
  });

  it('writes what readPreferences reads, the same for the same seed', async () => {
    const [one, two, other] = [await build(), await build(), await build({ seed: 4 })];
    expect(two).toEqual(one);
    expect(other.pairs).not.toEqual(one.pairs);
    const file = `${await newFolder()}/new/pairs.jsonl`;
    expect(await writeJsonLines(file, one.pairs)).toBe(one.pairs.length);
    const read: Preference[] = [];
    for await (const pair of readPreferences(file)) read.push(pair);
    expect(read).toEqual(one.pairs);
  });

  it('falls back on the reference solution where no sample is right, and only there', async () => {
    const verifier = numericAnswerVerifier();
    const without = await build({ verifier });
    expect(without.pairs).toEqual([]);
    expect(without.statistics.promptsAllWrong).toBe(9);
    for (const referenceSolution of ['solution', (prompt: Prompt) => prompt.solution as string]) {
      const { pairs, statistics } = await build({ verifier, referenceSolution });
      expect(pairs.length).toBe(statistics.referenceSolutionsUsed);
      expect(pairs.length).toBeGreaterThan(5);
      expect(statistics.promptsAllWrong).toBe(0);
      for (const { prompt, chosen, rejected } of pairs) {
        const source = prompts.find((each) => textOf(each.prompt) === textOf(prompt))!;
        expect(textOf(chosen)).toBe(source.solution);
        expect(textOf(rejected)).not.toContain('####');
      }
    }
    const { statistics } = await build({ referenceSolution: () => '7' });
    expect(statistics.referenceSolutionsUsed).toBeLessThan(9);
  });

  it('refuses reference solutions that are none, or wrong', async () => {
    const verifier = numericAnswerVerifier();
    await expect(build({ verifier, referenceSolution: 'answer' })).rejects.toThrowError(/reference solution.*is \d/);
    await expect(build({ verifier, referenceSolution: () => '#### 99' })).rejects.toThrowError(
      /not right by "numeric answer"/,
    );
  });

  it('stops at the number of pairs asked for, and when it is interrupted', async () => {
    const { pairs } = await build({ maximumPairs: 2, promptsPerBatch: 3 });
    expect(pairs).toHaveLength(2);
    const signal = AbortSignal.abort();
    await expect(build({ signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
