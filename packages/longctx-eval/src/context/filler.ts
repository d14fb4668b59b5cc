/**
 * Filler text out of a haystack of documents: joined in a seeded order by blank lines, repeated in a new order when they run
 * out, and cut where a character ends. Takes only as much as is asked for, so that a large haystack costs nothing.
 */

import { EvaluationError } from '../errors.js';
import type { SeededRandom } from '../random.js';

export class Filler {
  private text = '';
  private order: number[] = [];

  constructor(
    private readonly documents: readonly string[],
    private readonly random: SeededRandom,
  ) {
    if (!documents.some((document) => document.trim() !== '')) {
      throw new EvaluationError('HAYSTACK_TOO_SHORT', 'The haystack holds no text.', {
        value: documents.length,
        remedy: 'Give at least one document with words in it.',
      });
    }
  }

  /** The first `length` characters, fewer by one where that would split a surrogate pair. */
  take(length: number): string {
    while (this.text.length < length) {
      const next = this.order.pop();
      if (next === undefined) {
        this.order = this.random.shuffle(this.documents.map((_, index) => index));
        continue;
      }
      const document = this.documents[next]?.trim() ?? '';
      if (document !== '') this.text += this.text === '' ? document : `\n\n${document}`;
    }
    const code = this.text.charCodeAt(length - 1);
    return this.text.slice(0, code >= 0xd800 && code <= 0xdbff ? length - 1 : length);
  }
}

const sentenceEnd = /[.!?]["')\]]*\s+|\n+/g;

/**
 * Where a sentence or line begins, as near to `offset` as there is one within 2,000 characters; else where a word begins;
 * else `offset`.
 */
export function nearestBoundary(text: string, offset: number): number {
  if (offset <= 0) return 0;
  if (offset >= text.length) return text.length;
  const from = Math.max(0, offset - 2000);
  const window = text.slice(from, offset + 2000);
  for (const pattern of [sentenceEnd, /\s+/g]) {
    let best: number | undefined;
    for (const match of window.matchAll(pattern)) {
      const boundary = from + match.index + match[0].length;
      if (best === undefined || Math.abs(boundary - offset) < Math.abs(best - offset)) best = boundary;
    }
    if (best !== undefined) return best;
  }
  return offset;
}

/** `text` with each insertion's sentence at its offset, set off by spaces; offsets refer to `text`. */
export function insertSentences(text: string, insertions: readonly { offset: number; sentence: string }[]): string {
  const sorted = [...insertions].sort((a, b) => a.offset - b.offset);
  const parts: string[] = [];
  let position = 0;
  for (const { offset, sentence } of sorted) {
    const before = text.slice(position, offset);
    parts.push(before);
    const last = before === '' ? parts.at(-2)?.at(-1) : before.at(-1);
    if (last !== undefined && !/\s/.test(last)) parts.push(' ');
    parts.push(sentence);
    if (offset < text.length && !/\s/.test(text[offset] ?? ' ')) parts.push(' ');
    position = offset;
  }
  parts.push(text.slice(position));
  return parts.join('');
}
