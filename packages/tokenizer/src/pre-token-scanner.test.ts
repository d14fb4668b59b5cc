import { describe, expect, it } from 'vitest';
import { huggingFaceSplitter } from '../test/support/hugging-face.js';
import { nastyString, randomNumbers, realTexts } from '../test/support/texts.js';
import { bytesToToken } from './byte-level-alphabet.js';
import { PreTokenScanner } from './pre-token-scanner.js';
import { preTokenizerJson, preTokenizerPresets, rulesFromJson } from './pre-tokenizer.js';
import { codePointClasses } from './unicode-classes.js';

const smolLm = {
  type: 'Sequence',
  pretokenizers: [
    { type: 'Digits', individual_digits: true },
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  ],
};
const preTokenizers: [string, unknown][] = [
  ...preTokenizerPresets.map((preset): [string, unknown] => [preset, preTokenizerJson(preset)]),
  ['SmolLM', smolLm],
];

function ownSplitter(json: unknown): (text: string) => string[] {
  const scanner = new PreTokenScanner(rulesFromJson(json));
  return (text) => {
    const bytes = new TextEncoder().encode(text);
    const pieces: string[] = [];
    for (let position = 0; position < bytes.length;) {
      const next = scanner.next(bytes, position, bytes.length);
      pieces.push(bytesToToken(bytes, position, next));
      position = next;
    }
    return pieces;
  };
}

const boundaries: string[] = [];
for (let codePoint = 0; codePoint < 0x110000; codePoint++) {
  const kind = codePointClasses[codePoint];
  if (kind === codePointClasses[codePoint - 1] && kind === codePointClasses[codePoint + 1]) continue;
  if (codePoint < 0xd800 || codePoint >= 0xe000) boundaries.push(String.fromCodePoint(codePoint));
}

/** Equality of long arrays; a difference is reported with what surrounds it. */
function expectSame(found: readonly string[], expected: readonly string[]): void {
  if (found.join('\u0001') === expected.join('\u0001')) return;
  const at = expected.findIndex((piece, i) => piece !== found[i]);
  expect(found.slice(Math.max(0, at - 3), at + 4)).toEqual(expected.slice(Math.max(0, at - 3), at + 4));
}

describe('character classes', () => {
  it('are those of Hugging Face for every code point', () => {
    const own = ownSplitter(preTokenizerJson('llama3'));
    const theirs = huggingFaceSplitter(preTokenizerJson('llama3'));
    // A letter joins the a, a number the 1, white space the line feed, and all else the exclamation mark.
    for (let first = 0; first < 0x110000; first += 512) {
      let text = '';
      // Planes 4 to 16 hold no letter yet: there, one in sixteen must do.
      for (let codePoint = first; codePoint < first + 512; codePoint += first < 0x40000 ? 1 : 16) {
        if (codePoint >= 0xd800 && codePoint < 0xe000) continue;
        const character = String.fromCodePoint(codePoint);
        text += `a${character}1!${character}\n`;
      }
      expectSame(own(text), theirs(text));
    }
  });
});

describe.each(preTokenizers)('scanner for %s', (_, json) => {
  const own = ownSplitter(json);
  const theirs = huggingFaceSplitter(json);

  it('splits around characters of every kind as Hugging Face does', () => {
    // The first and last code point of every run of equal class, in every context that a rule looks at.
    const text = boundaries.map((c) => `a${c}b1${c}2 ${c}!${c}'${c}\n${c}${c}1`).join('');
    expectSame(own(text), theirs(text));
  });

  it('splits random strings as Hugging Face does', () => {
    const random = randomNumbers(1);
    for (let round = 0; round < 4000; round++) {
      const text = nastyString(random, 1 + Math.floor(random() * 40));
      expect(own(text), JSON.stringify(text)).toEqual(theirs(text));
    }
  });

  it('splits real files as Hugging Face does', () => {
    for (const text of realTexts()) expectSame(own(text), theirs(text));
  });
});

describe('rulesFromJson', () => {
  it('refuses what the scanner cannot follow', () => {
    const other = { type: 'Split', pattern: { Regex: '\\w+' }, behavior: 'Isolated', invert: false };
    const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
    for (const json of [
      null,
      { type: 'Whitespace' },
      { type: 'Sequence', pretokenizers: [other, byteLevel] },
      { ...byteLevel, use_regex: true, add_prefix_space: true },
    ]) {
      expect(() => rulesFromJson(json)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_TOKENIZER' }));
    }
  });
});
