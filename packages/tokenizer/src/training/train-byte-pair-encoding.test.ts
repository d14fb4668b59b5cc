import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realTexts } from '../../test/support/texts.js';
import { serializeTokenizerDefinition, standardSpecialTokens } from '../tokenizer-definition.js';
import type { ProgressEvent } from '../types.js';
import { trainBytePairEncoding, type TrainOptions } from './train-byte-pair-encoding.js';

const texts = realTexts();
const options: TrainOptions = { vocabularySize: 1500, workers: 0 };
const digest = (definition: Awaited<ReturnType<typeof trainBytePairEncoding>>) =>
  createHash('sha256').update(serializeTokenizerDefinition(definition)).digest('hex');

async function* asynchronously<T>(values: readonly T[]): AsyncGenerator<T> {
  for (const value of values) {
    await Promise.resolve();
    yield value;
  }
}

describe('trainBytePairEncoding', () => {
  let folder: string;
  let expected: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'train-'));
    expected = digest(await trainBytePairEncoding(texts, options));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('learns what Hugging Face learned from the fixture, setting by setting', async () => {
    // test/fixtures/trainer-parity.json was written by bench/prove-trainer-parity.mjs with Python's `tokenizers` 0.23.2.
    const fixtures = new URL('../../test/fixtures/', import.meta.url);
    const lines = (await readFile(new URL('corpus.jsonl', fixtures), 'utf8')).trimEnd().split('\n');
    const corpus = lines.map((line) => (JSON.parse(line) as { text: string }).text);
    const { results } = JSON.parse(await readFile(new URL('trainer-parity.json', fixtures), 'utf8')) as {
      results: { setting: TrainOptions; theirs: { tokens: number; vocabularySha256: string; mergesSha256: string } }[];
    };
    const hashLines = (parts: string[]) =>
      createHash('sha256')
        .update(parts.map((part) => `${part}\n`).join(''))
        .digest('hex');
    expect(results).toHaveLength(5);
    for (const { setting, theirs } of results) {
      const { vocab, merges } = (await trainBytePairEncoding(corpus, setting)).model;
      expect({
        tokens: Object.keys(vocab).length,
        vocabularySha256: hashLines(Object.keys(vocab).sort((a, b) => vocab[a] - vocab[b])),
        mergesSha256: hashLines(merges.map((merge) => merge.join(' '))),
      }).toEqual({
        tokens: theirs.tokens,
        vocabularySha256: theirs.vocabularySha256,
        mergesSha256: theirs.mergesSha256,
      });
    }
  });

  it('puts special tokens first, then the bytes, then merges', async () => {
    const { model, added_tokens } = await trainBytePairEncoding(texts, options);
    expect(added_tokens.map(({ id, content }) => [content, id])).toEqual(
      standardSpecialTokens.map((content, id) => [content, id]),
    );
    expect(model.vocab['!']).toBe(4);
    expect(model.vocab['Ń']).toBe(259);
    expect(Object.keys(model.vocab)).toHaveLength(1500);
    expect(model.merges).toHaveLength(1500 - 260);
  });

  it('gives the same bytes whatever the number of workers, the order of texts and the kind of iterable', async () => {
    for (const workers of [1, 3]) {
      expect(digest(await trainBytePairEncoding(asynchronously(texts), { ...options, workers }))).toBe(expected);
    }
    expect(digest(await trainBytePairEncoding([...texts].reverse(), options))).toBe(expected);
  });

  it('continues from its checkpoint after an interruption, to the same bytes', async () => {
    const stop = new AbortController();
    const interrupted = async function* () {
      for (const [i, text] of texts.entries()) {
        if (i === Math.floor(texts.length / 2)) stop.abort();
        yield text;
      }
    };
    const saving = { ...options, workers: 2, checkpointFolder: folder, checkpointEveryBytes: 100_000 };
    await expect(trainBytePairEncoding(interrupted(), { ...saving, signal: stop.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    });
    expect(await readdir(folder)).toEqual(['word-counts.bin']);
    await expect(trainBytePairEncoding(['other', ...texts], saving)).rejects.toMatchObject({ code: 'RESUME_MISMATCH' });
    await expect(trainBytePairEncoding(texts.slice(0, 3), saving)).rejects.toMatchObject({ code: 'RESUME_MISMATCH' });
    await expect(trainBytePairEncoding(texts, { ...saving, preTokenizer: 'gpt2' })).rejects.toMatchObject({
      code: 'RESUME_MISMATCH',
    });
    let counted = 0;
    const onProgress = ({ task, completed }: ProgressEvent) => {
      if (task === 'count words') counted = completed;
    };
    expect(digest(await trainBytePairEncoding(texts, { ...saving, onProgress }))).toBe(expected);
    const all = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    expect(counted).toBeLessThan(all);
    expect(counted).toBeGreaterThan(0);
    // Counts are complete now: the texts are not needed again, and other sizes come from them at once.
    expect(digest(await trainBytePairEncoding([], saving))).toBe(expected);
  });

  it('refuses a damaged checkpoint', async () => {
    const saving = { ...options, checkpointFolder: folder };
    await trainBytePairEncoding(texts.slice(0, 5), saving);
    const path = join(folder, 'word-counts.bin');
    const bytes = await readFile(path);
    for (const damaged of [bytes.subarray(0, bytes.length - 1), bytes.subarray(0, 20), Buffer.from('something else')]) {
      await writeFile(path, damaged);
      await expect(trainBytePairEncoding(texts, saving)).rejects.toMatchObject({
        code: 'RESUME_MISMATCH',
        value: path,
      });
    }
  });

  it('stops while it learns merges when it is told to', async () => {
    const stop = new AbortController();
    const onProgress = ({ task }: ProgressEvent) => {
      if (task === 'learn merges') stop.abort();
    };
    const training = trainBytePairEncoding(texts, { ...options, onProgress, signal: stop.signal });
    await expect(training).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('refuses options and texts that make no sense', async () => {
    const bad = [
      { vocabularySize: 259 },
      { vocabularySize: 1000.5 },
      { vocabularySize: 1000, preTokenizer: 'words' },
      { vocabularySize: 1000, workers: -1 },
      { vocabularySize: 1000, specialTokens: [''] },
      { vocabularySize: 1000, unknown: true },
    ] as unknown as TrainOptions[];
    for (const wrong of bad) {
      await expect(trainBytePairEncoding(texts, wrong)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    }
    const notText = [1] as unknown as string[];
    await expect(trainBytePairEncoding(notText, options)).rejects.toMatchObject({ code: 'INVALID_CORPUS', value: 1 });
  });

  it('works on no text, on empty texts and on one repeated character', async () => {
    for (const few of [[], ['', '', '']]) {
      expect((await trainBytePairEncoding(few, options)).model.merges).toEqual([]);
    }
    const { model } = await trainBytePairEncoding(['a'.repeat(1000)], options);
    expect(model.merges.slice(0, 3)).toEqual([
      ['a', 'a'],
      ['aa', 'aa'],
      ['aaaa', 'aaaa'],
    ]);
  });
});
