import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { huggingFaceIds, huggingFaceTokenizer } from '../test/support/hugging-face.js';
import { nastyString, randomNumbers, realTexts } from '../test/support/texts.js';
import { TokenizerError } from './errors.js';
import { preTokenizerPresets } from './pre-tokenizer.js';
import { serializeTokenizerDefinition } from './tokenizer-definition.js';
import { writeTokenizerFolder } from './tokenizer-folder.js';
import { Tokenizer } from './tokenizer.js';
import { trainBytePairEncoding } from './training/train-byte-pair-encoding.js';
import type { PreTokenizerPreset, TokenizerDefinition } from './types.js';

const train = (preTokenizer: PreTokenizerPreset) =>
  trainBytePairEncoding(realTexts(), { vocabularySize: 3000, preTokenizer, workers: 0 });

async function expectSameIds(definition: TokenizerDefinition, texts: readonly string[]): Promise<void> {
  const tokenizer = Tokenizer.fromDefinition(definition);
  const expected = await huggingFaceIds(huggingFaceTokenizer(definition), texts);
  const { tokens, offsets } = await tokenizer.encodeBatch(texts, { parseSpecialTokens: true, workers: 2 });
  expect(offsets.length).toBe(texts.length + 1);
  for (const [i, text] of texts.entries()) {
    const found = Array.from(tokens.subarray(offsets[i], offsets[i + 1]));
    if (found.join() !== expected[i].join()) expect(found, JSON.stringify(text.slice(0, 300))).toEqual(expected[i]);
    const alone = tokenizer.encode(text, { parseSpecialTokens: true });
    expect(alone.join() === expected[i].join()).toBe(true);
  }
  await tokenizer.close();
}

function nastyTexts(seed: number, count: number): string[] {
  const random = randomNumbers(seed);
  return Array.from({ length: count }, () => nastyString(random, 1 + Math.floor(random() * 60)));
}

function longTexts(): string[] {
  const random = randomNumbers(7);
  const letters = Array.from({ length: 30_000 }, () => 'abcdefgh'[Math.floor(random() * 8)]).join('');
  return [
    'a'.repeat(100_000),
    ' '.repeat(70_001),
    '\n'.repeat(5000),
    letters,
    '="-'.repeat(20_000),
    'é'.repeat(40_000),
    '',
  ];
}

describe.each(preTokenizerPresets.map((preset) => [preset]))('ids with %s', (preset) => {
  it('equal those of Hugging Face on files, random strings, special-token lookalikes and long runs', async () => {
    const definition = await train(preset);
    await expectSameIds(definition, [...realTexts(), ...nastyTexts(2, 3000), ...longTexts()]);
  });
});

describe('other byte-level tokenizers', () => {
  let definition: TokenizerDefinition;
  beforeAll(async () => {
    definition = await train('llama3');
  });

  it('takes whole pre-tokens from the vocabulary when merges are ignored, as Llama 3 does', async () => {
    // A word that the merges cannot reach shows the difference.
    const vocab = { ...definition.model.vocab, Ġzyzzyva: 3000, ĠĠĠĊ: 3001 };
    const model = { ...definition.model, vocab, ignore_merges: true };
    await expectSameIds({ ...definition, model }, [
      ' zyzzyva zyzzyva   \n',
      ...nastyTexts(3, 500),
      ...realTexts().slice(0, 10),
    ]);
  });

  it('keeps its ids when there are more distinct pre-tokens than the cache holds', async () => {
    const words = Array.from(
      { length: 210_000 },
      (_, i) => ` ${i.toString(36).replaceAll(/[0-9]/g, (c) => 'qrstuvwxyz'[Number(c)])}`,
    );
    await expectSameIds(definition, [words.join(''), words.slice(0, 5000).join('')]);
  });

  it('normalizes to NFC, as Qwen 2 does', async () => {
    await expectSameIds({ ...definition, normalizer: { type: 'NFC' } }, ['e\u0301 \u212b', ...nastyTexts(4, 1000)]);
  });

  it('cuts out digits before the GPT-2 pattern, as SmolLM does', async () => {
    const preTokenizer = {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Digits', individual_digits: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    };
    await expectSameIds({ ...definition, pre_tokenizer: preTokenizer }, [
      ...nastyTexts(5, 1000),
      ...realTexts().slice(0, 10),
    ]);
  });

  it('finds added tokens that are not special, and those matched after normalization, as Hugging Face does', async () => {
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false };
    const added_tokens = [
      ...definition.added_tokens,
      { ...plain, id: 3000, content: '<think>' },
      { ...plain, id: 3001, content: '<|im_end|><think>' },
      { ...plain, id: 3002, content: 'think>x', normalized: true },
    ];
    await expectSameIds({ ...definition, added_tokens }, [
      'a<think>x',
      '<|im_end|><think>xthink>x',
      'think>x<|im_end|',
      ...nastyTexts(6, 200),
    ]);
  });
});

describe('Tokenizer', () => {
  let folder: string;
  let definition: TokenizerDefinition;
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tokenizer-'));
    definition = await train('code');
    await writeTokenizerFolder(folder, definition);
    tokenizer = await Tokenizer.load(folder);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('keeps special tokens as text unless they are asked for', () => {
    const text = 'a<|im_end|>b';
    expect(tokenizer.tokenId('<|im_end|>')).toBe(2);
    expect(tokenizer.encode(text)).not.toContain(2);
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(Array.from(tokenizer.encode(text, { parseSpecialTokens: true }))).toEqual([
      tokenizer.tokenId('a'),
      2,
      tokenizer.tokenId('b'),
    ]);
  });

  it('decodes to the text that was encoded, lone surrogates as U+FFFD', () => {
    for (const text of [...nastyTexts(8, 500), ...realTexts().slice(0, 20), '\ufeffBOM']) {
      const wellFormed = new TextDecoder('utf-8', { ignoreBOM: true }).decode(new TextEncoder().encode(text));
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(wellFormed);
      expect(tokenizer.decode(tokenizer.encode(text, { parseSpecialTokens: true }))).toBe(wellFormed);
    }
  });

  it('skips special tokens when decoding, if asked', () => {
    const ids = tokenizer.encode('<|im_start|>x<|im_end|>', { parseSpecialTokens: true });
    expect(tokenizer.decode(ids)).toBe('<|im_start|>x<|im_end|>');
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe('x');
  });

  it('decodes broken sequences as Hugging Face does', async () => {
    const native = huggingFaceTokenizer(definition);
    const random = randomNumbers(9);
    for (let round = 0; round < 500; round++) {
      const ids = Array.from({ length: 1 + Math.floor(random() * 12) }, () => Math.floor(random() * 260));
      expect(tokenizer.decode(ids)).toBe(await native.decode(ids, false));
    }
  });

  it('refuses a piece of text that it has not the memory to merge', () => {
    const long = 'a'.repeat((1 << 26) + 1);
    expect(() => tokenizer.encode(long)).toThrow(
      expect.objectContaining({ code: 'PRE_TOKEN_TOO_LONG', value: long.length }),
    );
    expect(tokenizer.decode(tokenizer.encode('still works'))).toBe('still works');
  });

  it('streams text without ever cutting a character', () => {
    const random = randomNumbers(10);
    for (let round = 0; round < 300; round++) {
      const ids = Array.from({ length: 30 }, () => Math.floor(random() * (round % 2 === 0 ? 260 : 3000)));
      const decoder = tokenizer.createDecoder();
      const parts = ids.map((id) => decoder.push(id));
      expect(parts.join('') + decoder.finish()).toBe(tokenizer.decode(ids));
    }
    const text = 'né 中文 👨‍👩‍👧 🇨🇭 ok';
    const decoder = tokenizer.createDecoder();
    const parts = Array.from(tokenizer.encode(text), (id) => decoder.push(id));
    expect(parts.join('') + decoder.finish()).toBe(text);
    expect(parts.some((part) => part.includes('\ufffd'))).toBe(false);
    expect(parts).toContain('');
  });

  it('names ids that do not exist', () => {
    for (const id of [3000, -1, 1.5, NaN]) {
      expect(() => tokenizer.decode([id])).toThrow(expect.objectContaining({ code: 'UNKNOWN_TOKEN_ID', value: id }));
    }
    expect(tokenizer.tokenId('__defineGetter__')).toBeUndefined();
    expect(tokenizer.tokenId('no such token')).toBeUndefined();
  });

  it('has the sha256 of its file, loaded or not', async () => {
    const file = await readFile(join(folder, 'tokenizer.json'));
    expect(tokenizer.sha256).toBe(createHash('sha256').update(file).digest('hex'));
    expect(Tokenizer.fromDefinition(definition).sha256).toBe(tokenizer.sha256);
    expect(tokenizer.vocabularySize).toBe(3000);
    expect((await Tokenizer.load(join(folder, 'tokenizer.json'))).sha256).toBe(tokenizer.sha256);
  });

  it('writes a file that Hugging Face reads back to the same definition', () => {
    const text = serializeTokenizerDefinition(definition);
    expect(JSON.parse(text)).toEqual(definition);
    const native = huggingFaceTokenizer(JSON.parse(text));
    expect(native.getVocabSize()).toBe(3000);
    expect(native.tokenToId('<|pad|>')).toBe(3);
  });

  it('refuses a file cut anywhere, and names it', async () => {
    const text = serializeTokenizerDefinition(definition);
    const path = join(folder, 'cut.json');
    const random = randomNumbers(11);
    const cuts = [0, 1, text.length - 2, ...Array.from({ length: 40 }, () => Math.floor(random() * (text.length - 2)))];
    for (const cut of cuts) {
      await writeFile(path, text.slice(0, cut));
      const failure: unknown = await Tokenizer.load(path).catch((error: unknown) => error);
      expect(TokenizerError.isInstance(failure) && failure.code).toBe('CORRUPT_TOKENIZER_FILE');
      expect((failure as Error).message).toContain(path);
    }
  });

  it('refuses files that would give wrong ids', async () => {
    const { model } = definition;
    const [first] = model.merges;
    const broken: [string, unknown][] = [
      ['CORRUPT_TOKENIZER_FILE', { ...definition, model: { ...model, vocab: { ...model.vocab, extra: 5 } } }],
      ['CORRUPT_TOKENIZER_FILE', { ...definition, model: { ...model, vocab: { ...model.vocab, extra: -1 } } }],
      ['CORRUPT_TOKENIZER_FILE', { ...definition, model: { ...model, merges: [...model.merges, ['nope', 'x']] } }],
      ['CORRUPT_TOKENIZER_FILE', { ...definition, model: { ...model, merges: [[...first, 'x']] } }],
      ['CORRUPT_TOKENIZER_FILE', { ...definition, version: '2.0' }],
      ['CORRUPT_TOKENIZER_FILE', { ...definition, added_tokens: [{ ...definition.added_tokens[0], id: 9 }] }],
      ['CORRUPT_TOKENIZER_FILE', [1]],
      ['CORRUPT_TOKENIZER_FILE', null],
      ['UNSUPPORTED_TOKENIZER', { ...definition, model: { type: 'WordPiece', vocab: {} } }],
      ['UNSUPPORTED_TOKENIZER', { ...definition, model: { ...model, dropout: 0.1 } }],
      ['UNSUPPORTED_TOKENIZER', { ...definition, normalizer: { type: 'Lowercase' } }],
      ['UNSUPPORTED_TOKENIZER', { ...definition, pre_tokenizer: { type: 'Whitespace' } }],
      ['UNSUPPORTED_TOKENIZER', { ...definition, added_tokens: [{ ...definition.added_tokens[0], lstrip: true }] }],
    ];
    for (const [code, json] of broken) {
      const path = join(folder, 'broken.json');
      await writeFile(path, JSON.stringify(json));
      await expect(Tokenizer.load(path)).rejects.toMatchObject({ code });
    }
    const { Ā: _zero, ...vocab } = model.vocab;
    await writeFile(join(folder, 'broken.json'), JSON.stringify({ ...definition, model: { ...model, vocab } }));
    await expect(Tokenizer.load(join(folder, 'broken.json'))).rejects.toMatchObject({
      code: 'UNSUPPORTED_TOKENIZER',
      value: 0,
    });
    await expect(Tokenizer.load(join(folder, 'missing'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });
});
