/**
 * Cuts UTF-8 bytes into pre-tokens exactly where the presets' regular expressions do, without backtracking, so any text
 * costs linear time. ASCII goes through an automaton (about one table look-up a byte); a pre-token that meets any other
 * byte goes through the general scanner.
 */
import { buildAsciiAutomaton, END, END_AT_LINE_BREAK, END_ONE_EARLIER, NOT_ASCII, START } from './ascii-automaton.js';
import type { SplitRules } from './pre-tokenizer.js';
import { createUnicodeScanner, type UnicodeScanner } from './unicode-scanner.js';

export class PreTokenScanner {
  private readonly table: Uint8Array;
  private readonly atEndOfText: Uint8Array;
  private readonly indentation: boolean;
  private readonly general: UnicodeScanner;

  constructor(rules: SplitRules) {
    const { table, atEndOfText } = buildAsciiAutomaton(rules);
    this.table = table;
    this.atEndOfText = atEndOfText;
    this.indentation = rules.style === 'code';
    this.general = createUnicodeScanner(rules);
  }

  /** Where the pre-token that starts at `position` (< `end`) ends. `end` is the end of the text, which is valid UTF-8. */
  next(bytes: Uint8Array, position: number, end: number): number {
    const { table } = this;
    let state = START;
    let cursor = position;
    do {
      const following = table[(state << 8) | bytes[cursor]];
      if (following < START) {
        if (following === END) return cursor;
        return this.endSpecially(following, bytes, position, cursor, end);
      }
      state = following;
      cursor++;
    } while (cursor < end);
    const last = this.atEndOfText[state];
    return last === END ? cursor : this.endSpecially(last, bytes, position, cursor, end);
  }

  private endSpecially(how: number, bytes: Uint8Array, position: number, cursor: number, end: number): number {
    if (how === END_ONE_EARLIER) return cursor - 1;
    if (how === NOT_ASCII) return this.general(bytes, position, end);
    if (how !== END_AT_LINE_BREAK) return cursor;
    let lineEnd = cursor;
    while (bytes[lineEnd - 1] !== 0x0a && bytes[lineEnd - 1] !== 0x0d) lineEnd--;
    if (this.indentation) while (lineEnd < cursor && (bytes[lineEnd] === 0x20 || bytes[lineEnd] === 0x09)) lineEnd++;
    return lineEnd;
  }
}
