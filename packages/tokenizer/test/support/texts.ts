/** Texts for tests: real files of this checkout, and seeded random strings made to break tokenizers. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Mulberry32: the same numbers for the same seed. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

function filesUnder(folder: string, pattern: RegExp): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      if (statSync(path).isDirectory()) return filesUnder(path, pattern);
      return pattern.test(name) ? [path] : [];
    });
}

/** Source, declarations and read-mes of two of this package's dependencies: about 1.5 MB. */
export function realTexts(): string[] {
  const root = fileURLToPath(new URL('../../node_modules/', import.meta.url));
  return ['hyparquet', '@huggingface/jinja'].flatMap((name) =>
    filesUnder(join(root, name), /\.(js|ts|md)$|^LICENSE/).map((path) => readFileSync(path, 'utf8')),
  );
}

const pieces = [
  ..."abcxyzABCSTREVMLD'''  \t\n\r0123456789.,;:!?()[]{}<>|_-+*/\\\"#@$%^&=~`".split(''),
  ...["'s", "'T", "'re", "'VE", "'m", "'ll", "'d", "'ſ", "'Re", "l'l", '\r\n', '\n\n', '    ', '\t\t'],
  ...[
    '<|endoftext|>',
    '<|im_start|>',
    '<|im_end|>',
    '<|pad|>',
    '<|im_',
    'end|>',
    '<|',
    '|>',
    '<|endoftext|',
    '<<|pad|>>',
  ],
  ...['é', 'e\u0301', 'ß', 'ſ', 'İ', 'ǆ', 'ﬁ', 'Ａ', 'я', '中文', '日本語', '한국어', 'العربية', 'हिन्दी', 'ไทย'],
  ...[
    '²',
    '½',
    'Ⅷ',
    '٣',
    '１',
    '𝟘',
    '௧',
    '㊀',
    '\u00a0',
    '\u1680',
    '\u2003',
    '\u2028',
    '\u3000',
    '\u0085',
    '\u000b',
    '\u000c',
  ],
  ...[
    '\u200b',
    '\u200d',
    '\ufeff',
    '\u0000',
    '\u00ad',
    '\ufffd',
    '\ud800',
    '\udfff',
    '\ue000',
    '👍🏽',
    '👨‍👩‍👧',
    '🇨🇭',
    '𐍈',
    '\u{10ffff}',
  ],
];

/** A random string of nasty pieces and arbitrary code points; may hold lone surrogates. */
export function nastyString(random: () => number, length: number): string {
  let text = '';
  for (let i = 0; i < length; i++) {
    const kind = random();
    if (kind < 0.75) text += pieces[Math.floor(random() * pieces.length)];
    else if (kind < 0.85) text += String.fromCodePoint(Math.floor(random() * 0x3000));
    else if (kind < 0.9) text += String.fromCodePoint(Math.floor(random() * 0x110000));
    else text += pieces[Math.floor(random() * pieces.length)].repeat(1 + Math.floor(random() * 12));
  }
  return text;
}
