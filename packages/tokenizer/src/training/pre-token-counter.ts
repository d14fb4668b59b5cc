/** Counts the pre-tokens of UTF-8 texts. */
import { PreTokenScanner } from '../pre-token-scanner.js';
import type { SplitRules } from '../pre-tokenizer.js';
import { WordCounter, type WordCounts } from './word-counter.js';

/** What a counting worker is asked: to count texts that lie end to end, or for its table (and to start a new one). */
export type CountRequest = { kind: 'count'; bytes: Uint8Array; ends: Int32Array } | { kind: 'take' };

export class PreTokenCounter {
  private readonly scanner: PreTokenScanner;
  private words = new WordCounter();

  constructor(rules: SplitRules) {
    this.scanner = new PreTokenScanner(rules);
  }

  /** `ends`: where each text ends in `bytes`. */
  count(bytes: Uint8Array, ends: Int32Array): void {
    const { scanner, words } = this;
    let position = 0;
    for (const end of ends) {
      while (position < end) {
        const next = scanner.next(bytes, position, end);
        words.add(bytes, position, next, 1);
        position = next;
      }
    }
  }

  take(): WordCounts {
    const taken = this.words.toWordCounts();
    this.words = new WordCounter();
    return taken;
  }
}
