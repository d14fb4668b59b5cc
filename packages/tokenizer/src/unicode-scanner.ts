/**
 * The general scanner: the presets' patterns over any UTF-8, with one look at each character and one character of
 * look-ahead. The input must be valid UTF-8.
 */
import type { SplitRules } from './pre-tokenizer.js';
import { byteClasses, codePointClasses, LETTER, MULTIBYTE, NEWLINE, NUMBER, OTHER, SPACE } from './unicode-classes.js';

const spaceByte = 0x20;
const tab = 0x09;
const apostrophe = 0x27;

/** Returns where the pre-token that starts at `position` (< `end`) ends. `end` is the end of the text. */
export type UnicodeScanner = (bytes: Uint8Array, position: number, end: number) => number;

function sequenceLength(lead: number): number {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

function classOfSequence(classes: Uint8Array, bytes: Uint8Array, position: number): number {
  const lead = bytes[position];
  if (lead < 0xe0) return classes[((lead & 0x1f) << 6) | (bytes[position + 1] & 0x3f)];
  const middle = ((bytes[position + 1] & 0x3f) << 6) | (bytes[position + 2] & 0x3f);
  if (lead < 0xf0) return classes[((lead & 0x0f) << 12) | middle];
  return classes[((lead & 0x07) << 18) | (middle << 6) | (bytes[position + 3] & 0x3f)];
}

function classAt(classes: Uint8Array, bytes: Uint8Array, position: number): number {
  const kind = byteClasses[bytes[position]];
  return kind === MULTIBYTE ? classOfSequence(classes, bytes, position) : kind;
}

/** End of the run of characters of class `kind` that starts at `position` (which may be empty). */
function runEnd(classes: Uint8Array, bytes: Uint8Array, position: number, end: number, kind: number): number {
  while (position < end) {
    const byte = bytes[position];
    const byteClass = byteClasses[byte];
    if (byteClass === kind) position++;
    else if (byteClass === MULTIBYTE && classOfSequence(classes, bytes, position) === kind)
      position += sequenceLength(byte);
    else break;
  }
  return position;
}

function digitsEnd(
  classes: Uint8Array,
  bytes: Uint8Array,
  position: number,
  end: number,
  maximumDigits: number,
): number {
  let digits = 0;
  while (position < end && digits < maximumDigits && classAt(classes, bytes, position) === NUMBER) {
    position += sequenceLength(bytes[position]);
    digits++;
  }
  return position;
}

/**
 * `(?i:'s|'t|'re|'ve|'m|'ll|'d)` at an apostrophe: where it ends, or 0. U+017F (long s) folds to s, as it does in
 * Oniguruma.
 */
function contractionEnd(bytes: Uint8Array, position: number, end: number): number {
  if (position + 1 >= end) return 0;
  const first = bytes[position + 1];
  if (first === 0xc5 && bytes[position + 2] === 0xbf) return position + 3;
  const letter = first | 0x20;
  if (first < 0x41 || first > 0x7a) return 0;
  if (letter === 0x73 || letter === 0x74 || letter === 0x6d || letter === 0x64) return position + 2;
  if (position + 2 >= end) return 0;
  const second = bytes[position + 2];
  if (second < 0x41 || second > 0x7a) return 0;
  const expected = letter === 0x72 || letter === 0x76 ? 0x65 : letter === 0x6c ? 0x6c : 0;
  return expected !== 0 && (second | 0x20) === expected ? position + 3 : 0;
}

/**
 * The alternatives over whitespace, at a whitespace character: `\s*[\r\n]+`, then `\s+(?!\S)`, then `\s+`; with
 * `indentation`, spaces and tabs after the last line break belong to it.
 */
function whitespaceEnd(
  classes: Uint8Array,
  bytes: Uint8Array,
  position: number,
  end: number,
  indentation: boolean,
): number {
  let cursor = position;
  let lastStart = position;
  let afterNewline = -1;
  while (cursor < end) {
    const kind = classAt(classes, bytes, cursor);
    if (kind !== SPACE && kind !== NEWLINE) break;
    lastStart = cursor;
    cursor += sequenceLength(bytes[cursor]);
    if (kind === NEWLINE) afterNewline = cursor;
  }
  if (afterNewline >= 0) {
    if (indentation) {
      while (afterNewline < cursor && (bytes[afterNewline] === spaceByte || bytes[afterNewline] === tab))
        afterNewline++;
    }
    return afterNewline;
  }
  return cursor === end || lastStart === position ? cursor : lastStart;
}

function scanGpt4(
  classes: Uint8Array,
  bytes: Uint8Array,
  position: number,
  end: number,
  maximumDigits: number,
  code: boolean,
): number {
  const byte = bytes[position];
  const kind = classAt(classes, bytes, position);
  if (kind === LETTER) return runEnd(classes, bytes, position + sequenceLength(byte), end, LETTER);
  if (kind === NUMBER) return digitsEnd(classes, bytes, position, end, maximumDigits);
  if (kind === NEWLINE) return whitespaceEnd(classes, bytes, position, end, code);
  if (byte === apostrophe) {
    const contracted = contractionEnd(bytes, position, end);
    if (contracted > 0 && !(code && contracted < end && classAt(classes, bytes, contracted) === LETTER))
      return contracted;
  }
  const next = position + sequenceLength(byte);
  const nextKind = next < end ? classAt(classes, bytes, next) : -1;
  if (nextKind === LETTER) return runEnd(classes, bytes, next, end, LETTER);
  if (kind === OTHER || (byte === spaceByte && nextKind === OTHER)) {
    const punctuationEnd = runEnd(classes, bytes, next, end, OTHER);
    return code ? punctuationEnd : runEnd(classes, bytes, punctuationEnd, end, NEWLINE);
  }
  return whitespaceEnd(classes, bytes, position, end, code);
}

function scanGpt2(
  classes: Uint8Array,
  bytes: Uint8Array,
  position: number,
  end: number,
  isolateDigits: boolean,
): number {
  const byte = bytes[position];
  if (byte === apostrophe) {
    // Lower case only; U+017F is no match without folding.
    const contracted = contractionEnd(bytes, position, end);
    if (contracted > 0 && isLowerAscii(bytes, position + 1, contracted)) return contracted;
  }
  let kind = classAt(classes, bytes, position);
  let next = position + sequenceLength(byte);
  if (byte === spaceByte && next < end) {
    const nextKind = classAt(classes, bytes, next);
    if (nextKind === LETTER || nextKind === OTHER || (nextKind === NUMBER && !isolateDigits)) kind = nextKind;
  }
  if (kind === NUMBER && isolateDigits) return next;
  if (kind !== SPACE && kind !== NEWLINE) return runEnd(classes, bytes, next, end, kind);
  let lastStart = position;
  while (next < end) {
    const nextKind = classAt(classes, bytes, next);
    if (nextKind !== SPACE && nextKind !== NEWLINE) {
      if (isolateDigits && nextKind === NUMBER) return next;
      return lastStart === position ? next : lastStart;
    }
    lastStart = next;
    next += sequenceLength(bytes[next]);
  }
  return next;
}

function isLowerAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] < 0x61 || bytes[i] > 0x7a) return false;
  return true;
}

/** The scanner for some rules. */
export function createUnicodeScanner(rules: SplitRules): UnicodeScanner {
  const { style, maximumDigits, isolateDigits } = rules;
  if (style === 'gpt2') {
    const classes = isolateDigits ? withLaterNumbers() : codePointClasses;
    return (bytes, position, end) => scanGpt2(classes, bytes, position, end, isolateDigits);
  }
  const classes = codePointClasses;
  const code = style === 'code';
  return (bytes, position, end) => scanGpt4(classes, bytes, position, end, maximumDigits, code);
}

/** Hugging Face's `Digits` asks Rust's Unicode 17 tables, which know these numbers that Oniguruma's do not. */
function withLaterNumbers(): Uint8Array {
  return codePointClasses.slice().fill(NUMBER, 0x11de0, 0x11dea).fill(NUMBER, 0x16ff4, 0x16ff7);
}
