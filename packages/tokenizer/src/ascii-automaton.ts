/**
 * The presets' patterns over ASCII as a finite automaton: one table look-up a byte, no comparison of characters. A byte
 * above 0x7f leaves it for the general scanner.
 *
 * `table[(state << 8) | byte]` is the next state, or one of the ends below (all smaller than `START`).
 */
import type { SplitRules } from './pre-tokenizer.js';
import { byteClasses, LETTER, MULTIBYTE, NEWLINE, NUMBER, OTHER, SPACE } from './unicode-classes.js';

/** The pre-token ends before this byte. */
export const END = 0;
/** It ends one byte earlier. */
export const END_ONE_EARLIER = 1;
/** It ends after its last line break (and, in the code presets, the spaces and tabs after that). */
export const END_AT_LINE_BREAK = 2;
/** The general scanner has to look at it from its start. */
export const NOT_ASCII = 3;
export const START = 4;

export interface AsciiAutomaton {
  table: Uint8Array;
  /** For each state, how a pre-token ends there when the text ends. */
  atEndOfText: Uint8Array;
}

/** Where each kind of byte leads; what is not named ends the pre-token. */
interface Transitions {
  letter?: string;
  number?: string;
  /** Punctuation, symbols and control characters, the apostrophe included unless it is named. */
  other?: string;
  apostrophe?: string;
  /** Whitespace but line breaks; `blank` is space and tab where they differ from the rest, `space` the space alone. */
  white?: string;
  blank?: string;
  space?: string;
  newline?: string;
  /** Single characters, which count first. */
  characters?: Record<string, string>;
  /** Default `slow`: the byte may belong to what the state goes on with. */
  multibyte?: 'end' | 'back' | 'slow';
  otherwise?: 'end' | 'back' | 'line-break';
  endOfText?: 'end' | 'back' | 'line-break';
}

const ends: Record<string, number> = {
  end: END,
  back: END_ONE_EARLIER,
  'line-break': END_AT_LINE_BREAK,
  slow: NOT_ASCII,
};

/** `st…` → each letter in both cases leads to `state`. */
function eitherCase(letters: string, state: string): Record<string, string> {
  return Object.fromEntries([...letters].flatMap((c) => [c, c.toUpperCase()]).map((c) => [c, state]));
}

function gpt4States(maximumDigits: number, code: boolean): Record<string, Transitions> {
  const afterPunctuation = code ? undefined : 'lineBreaks';
  const contraction = code ? 'contraction' : 'done';
  const digits: Record<string, Transitions> = {};
  for (let n = 1; n < maximumDigits; n++)
    digits[`digits${n}`] = { number: n + 1 < maximumDigits ? `digits${n + 1}` : 'done' };
  return {
    start: {
      letter: 'letters',
      number: maximumDigits > 1 ? 'digits1' : 'done',
      other: 'symbol',
      apostrophe: 'apostrophe',
      space: 'space',
      white: 'white',
      newline: 'newline',
    },
    letters: { letter: 'letters' },
    ...digits,
    done: { multibyte: 'end' },
    symbol: { letter: 'letters', other: 'symbols', newline: afterPunctuation },
    symbols: { other: 'symbols', newline: afterPunctuation },
    lineBreaks: { newline: 'lineBreaks', multibyte: 'end' },
    apostrophe: {
      characters: {
        ...eitherCase('stmd', contraction),
        ...eitherCase('rv', 'apostropheE'),
        ...eitherCase('l', 'apostropheL'),
      },
      letter: 'letters',
      other: 'symbols',
      newline: afterPunctuation,
    },
    apostropheE: { characters: eitherCase('e', contraction), letter: 'letters' },
    apostropheL: { characters: eitherCase('l', contraction), letter: 'letters' },
    // Only in the code presets: no contraction after all when another letter follows.
    contraction: { letter: 'letters' },
    space: { letter: 'letters', other: 'symbols', white: 'whites', newline: 'newline' },
    white: { letter: 'letters', white: 'whites', newline: 'newline' },
    whites: { white: 'whites', newline: 'newline', otherwise: 'back' },
    newline: { newline: 'newline', blank: code ? 'indentation' : 'afterNewline', white: 'afterNewline' },
    indentation: { newline: 'newline', blank: 'indentation', white: 'afterNewline' },
    afterNewline: { newline: 'newline', white: 'afterNewline', otherwise: 'line-break', endOfText: 'line-break' },
  };
}

function gpt2States(isolateDigits: boolean): Record<string, Transitions> {
  return {
    start: {
      letter: 'letters',
      number: isolateDigits ? 'done' : 'numbers',
      other: 'symbols',
      apostrophe: 'apostrophe',
      space: 'space',
      white: 'white',
      newline: 'white',
    },
    letters: { letter: 'letters' },
    numbers: { number: 'numbers' },
    done: { multibyte: 'end' },
    symbols: { other: 'symbols' },
    apostrophe: {
      characters: { s: 'done', t: 'done', m: 'done', d: 'done', r: 'apostropheE', v: 'apostropheE', l: 'apostropheL' },
      other: 'symbols',
    },
    // Without its second letter the contraction is an apostrophe alone.
    apostropheE: { characters: { e: 'done' }, multibyte: 'back', otherwise: 'back', endOfText: 'back' },
    apostropheL: { characters: { l: 'done' }, multibyte: 'back', otherwise: 'back', endOfText: 'back' },
    space: {
      letter: 'letters',
      number: isolateDigits ? undefined : 'numbers',
      other: 'symbols',
      white: 'whites',
      newline: 'whites',
    },
    white: { white: 'whites', newline: 'whites' },
    whites: {
      white: 'whites',
      newline: 'whites',
      // A number starts a text of its own where digits are isolated, so the white space before it is at an end.
      ...(isolateDigits ? { characters: Object.fromEntries([...'0123456789'].map((c) => [c, 'end'])) } : {}),
      otherwise: 'back',
    },
  };
}

function destination(byte: number, transitions: Transitions): string {
  const { characters, multibyte = 'slow', otherwise = 'end' } = transitions;
  const { letter, number, other, apostrophe = other, white, blank = white, space = blank, newline } = transitions;
  const character = String.fromCharCode(byte);
  const named = characters?.[character];
  if (named !== undefined) return named;
  switch (byteClasses[byte]) {
    case MULTIBYTE:
      return multibyte;
    case LETTER:
      return letter ?? otherwise;
    case NUMBER:
      return number ?? otherwise;
    case OTHER:
      return (character === "'" ? apostrophe : other) ?? otherwise;
    case SPACE:
      return (character === ' ' ? space : character === '\t' ? blank : white) ?? otherwise;
    case NEWLINE:
      return newline ?? otherwise;
    default:
      return otherwise;
  }
}

export function buildAsciiAutomaton({ style, maximumDigits, isolateDigits }: SplitRules): AsciiAutomaton {
  const states = style === 'gpt2' ? gpt2States(isolateDigits) : gpt4States(maximumDigits, style === 'code');
  const names = Object.keys(states);
  const numberOf = (name: string) => ends[name] ?? START + names.indexOf(name);
  const table = new Uint8Array((START + names.length) << 8);
  const atEndOfText = new Uint8Array(START + names.length);
  for (const [index, name] of names.entries()) {
    const state = START + index;
    atEndOfText[state] = ends[states[name].endOfText ?? 'end'];
    for (let byte = 0; byte < 256; byte++) table[(state << 8) | byte] = numberOf(destination(byte, states[name]));
  }
  return { table, atEndOfText };
}
