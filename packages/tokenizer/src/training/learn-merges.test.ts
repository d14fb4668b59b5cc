import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { emptyDefinition, huggingFaceTokenizer } from '../../test/support/hugging-face.js';
import { randomNumbers, realTexts } from '../../test/support/texts.js';
import { byteCharacters } from '../byte-level-alphabet.js';
import { preTokenizerJson, presetRules } from '../pre-tokenizer.js';
import type { PreTokenizerPreset } from '../types.js';
import { learnMerges, type LearnedMerges, type LearnMergesOptions } from './learn-merges.js';
import { PreTokenCounter } from './pre-token-counter.js';
import { WordCounter, type WordCounts } from './word-counter.js';

const defaults: LearnMergesOptions = {
  vocabularySize: 300,
  specialTokens: [],
  minimumFrequency: 0,
  maximumTokenLength: Number.MAX_SAFE_INTEGER,
  alphabet: 'all',
};

function wordCounts(words: ReadonlyMap<string, number>): WordCounts {
  const counter = new WordCounter();
  for (const [word, count] of words) {
    const bytes = new TextEncoder().encode(word);
    counter.add(bytes, 0, bytes.length, count);
  }
  return counter.toWordCounts();
}

/** Algorithm 1 of Sennrich et al. with Hugging Face's ties: all pairs counted anew for every merge. */
function learnNaively(counts: ReadonlyMap<string, number>, options: LearnMergesOptions): LearnedMerges {
  const tokens: string[] = [];
  const idOf = (token: string) => {
    if (!tokens.includes(token)) tokens.push(token);
    return tokens.indexOf(token);
  };
  options.specialTokens.forEach(idOf);
  [...byteCharacters].sort().forEach(idOf);
  const words = [...counts].map(([word, count]) => ({
    symbols: Array.from(new TextEncoder().encode(word), (byte) => idOf(byteCharacters[byte])),
    count,
  }));
  const merges: [string, string][] = [];
  while (tokens.length < options.vocabularySize) {
    const pairs = new Map<string, { left: number; right: number; count: number }>();
    for (const { symbols, count } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const [left, right] = [symbols[i], symbols[i + 1]];
        if (tokens[left].length + tokens[right].length >= options.maximumTokenLength) continue;
        const key = `${left} ${right}`;
        pairs.set(key, { left, right, count: (pairs.get(key)?.count ?? 0) + count });
      }
    }
    const [best] = [...pairs.values()].sort((a, b) => b.count - a.count || a.left - b.left || a.right - b.right);
    if (best === undefined || best.count < Math.max(1, options.minimumFrequency)) break;
    const { left, right } = best;
    merges.push([tokens[left], tokens[right]]);
    const merged = idOf(tokens[left] + tokens[right]);
    for (const { symbols } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        if (symbols[i] === left && symbols[i + 1] === right) symbols.splice(i, 2, merged);
      }
    }
  }
  return { tokens, merges };
}

function randomCounts(random: () => number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i < 40; i++) {
    const letters = Array.from({ length: 1 + Math.floor(random() * 9) }, () => 'abcé'[Math.floor(random() * 4)]);
    counts.set(letters.join(''), 1 + Math.floor(random() * 6));
  }
  return counts;
}

describe('learnMerges', () => {
  it('learns what counting everything anew for each merge learns', async () => {
    const random = randomNumbers(1);
    for (let round = 0; round < 60; round++) {
      const counts = randomCounts(random);
      const options: LearnMergesOptions = {
        ...defaults,
        vocabularySize: 256 + Math.floor(random() * 60),
        minimumFrequency: Math.floor(random() * 5),
        maximumTokenLength: round % 3 === 0 ? 3 + Math.floor(random() * 4) : defaults.maximumTokenLength,
        specialTokens: round % 4 === 0 ? ['<|a|>', '<|b|>'] : [],
      };
      expect(await learnMerges(wordCounts(counts), options)).toEqual(learnNaively(counts, options));
    }
  });

  it('gives a merge that spells a known token the id of that token', async () => {
    // `aba` comes about as ab+a and as a+ba; `ab` is a special token.
    const counts = new Map([
      ['aba', 9],
      ['xaba', 4],
      ['bab', 7],
      ['baba', 5],
    ]);
    const options = { ...defaults, specialTokens: ['ab'], vocabularySize: 270 };
    const learned = await learnMerges(wordCounts(counts), options);
    expect(learned.tokens.filter((token) => token === 'ab')).toHaveLength(1);
    expect(learned.tokens[0]).toBe('ab');
    expect(new Set(learned.tokens).size).toBe(learned.tokens.length);
    expect(new Set(learned.merges.map((merge) => merge.join(' '))).size).toBe(learned.merges.length);
  });

  it.each<[PreTokenizerPreset]>([['llama3'], ['gpt2'], ['code']])(
    'learns the merges that Hugging Face learns from files with %s',
    async (preset) => {
      // The npm package trains with fixed settings: 30,000 tokens, the bytes that occur, line by line.
      const folder = await mkdtemp(join(tmpdir(), 'merges-'));
      try {
        const text = realTexts().join('\n');
        const path = join(folder, 'text.txt');
        await writeFile(path, text);
        const native = huggingFaceTokenizer(emptyDefinition(preTokenizerJson(preset)));
        native.train([path]);
        native.save(join(folder, 'tokenizer.json'));
        const saved = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')) as {
          model: { vocab: Record<string, number>; merges: [string, string][] };
        };

        const counter = new PreTokenCounter(presetRules(preset));
        for (const line of text.split(/(?<=\n)/)) {
          const bytes = new TextEncoder().encode(line);
          counter.count(bytes, Int32Array.of(bytes.length));
        }
        const learned = await learnMerges(counter.take(), { ...defaults, vocabularySize: 30_000, alphabet: 'seen' });
        expect(learned.merges.length).toBeGreaterThan(5000);
        expect(learned.merges).toEqual(saved.model.merges);
        expect(Object.fromEntries(learned.tokens.map((token, id) => [token, id]))).toEqual(saved.model.vocab);
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  );
});
