/**
 * Keeps what a user typed from becoming a special token: before rendering, the text of special tokens inside messages is
 * replaced by private-use characters that nothing else in the conversation uses; after rendering, and after the
 * template's own special tokens have been found, they turn back into plain text.
 */

import { alternation } from '../alternation.js';

/** Supplementary Private Use Area-A. */
const firstStandIn = 0xf0000;
const lastStandIn = 0xffffd;

export class LiteralContent {
  private readonly specialTokens: readonly string[];
  private readonly pattern: RegExp | undefined;
  private readonly standIns = new Map<string, string>();

  /** `specialTokens`: longest first. */
  constructor(specialTokens: readonly string[], values: unknown) {
    this.specialTokens = specialTokens;
    if (specialTokens.length === 0) return;
    this.pattern = alternation(specialTokens);
    const used = new Set<number>();
    collectPrivateUse(values, used);
    let codePoint = firstStandIn;
    for (const token of this.specialTokens) {
      while (used.has(codePoint)) codePoint++;
      if (codePoint > lastStandIn) throw new RangeError('The conversation uses every private-use character.');
      this.standIns.set(token, String.fromCodePoint(codePoint++));
    }
  }

  /** A copy of a message value with special tokens replaced in every string. */
  protect<T>(value: T): T {
    return this.map(value, (text) =>
      this.pattern === undefined ? text : text.replace(this.pattern, (token) => this.standIns.get(token) as string),
    ) as T;
  }

  /** The text as the user wrote it. */
  restore(text: string): string {
    let restored = text;
    for (const [token, standIn] of this.standIns) {
      if (restored.includes(standIn)) restored = restored.replaceAll(standIn, () => token);
    }
    return restored;
  }

  private map(value: unknown, change: (text: string) => string): unknown {
    if (typeof value === 'string') return change(value);
    if (Array.isArray(value)) return value.map((entry) => this.map(entry, change));
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, this.map(entry, change)]));
    }
    return value;
  }
}

/** Special tokens in a text, leftmost and then longest. */
export function findSpecialTokens(text: string, specialTokens: readonly string[]): { index: number; token: string }[] {
  if (specialTokens.length === 0) return [];
  return [...text.matchAll(alternation(specialTokens))].map((match) => ({ index: match.index, token: match[0] }));
}

function collectPrivateUse(value: unknown, used: Set<number>): void {
  if (typeof value === 'string') {
    for (const [character] of value.matchAll(/[\u{F0000}-\u{FFFFD}]/gu)) used.add(character.codePointAt(0) as number);
  } else if (typeof value === 'object' && value !== null) {
    for (const entry of Object.values(value)) collectPrivateUse(entry, used);
  }
}
