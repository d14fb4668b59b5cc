/** Lines of a document with 64-bit keys, to find those that many documents share. Leading and trailing blanks do not count. */

import { keyOf } from '../util/text-key.js';

export interface KeyedLine {
  low: number;
  high: number;
  /** Character range in the text, with the line feed. */
  start: number;
  end: number;
}

/** Lines of at least `minimumCharacters` characters, in order. */
export function keyedLines(text: string, minimumCharacters: number): KeyedLine[] {
  const lines: KeyedLine[] = [];
  let start = 0;
  while (start < text.length) {
    const feed = text.indexOf('\n', start);
    const end = feed === -1 ? text.length : feed + 1;
    const line = text.slice(start, end).trim();
    if (line.length >= minimumCharacters) lines.push({ ...keyOf(line), start, end });
    start = end;
  }
  return lines;
}
