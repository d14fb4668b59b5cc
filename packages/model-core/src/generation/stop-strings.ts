/**
 * Finds stop strings in text that arrives as tokens. Only the last tokens are decoded each time: a stop string of n
 * UTF-8 bytes that ends in the newest token begins at most n tokens back, since every token adds a byte (tokens that
 * decode to nothing get a margin). Once it is seen, the whole completion is decoded to cut it exactly.
 */
import { ModelError } from '../errors.js';

/** Tokens that may decode to nothing (special ones) inside a stop string. */
const margin = 8;

export class StopStringDetector {
  /** The completion's text before the stop string, once one was found. */
  text: string | undefined;
  private readonly tokens: number[] = [];
  private readonly window: number;

  constructor(
    private readonly stopStrings: readonly string[],
    private readonly decode: (tokens: number[]) => string,
  ) {
    if (stopStrings.some((stop) => typeof stop !== 'string' || stop === '')) {
      throw new ModelError('INVALID_ARGUMENT', `stopStrings is ${JSON.stringify(stopStrings)}.`, {
        value: stopStrings,
        remedy: 'Every stop string is a string that is not empty.',
      });
    }
    this.window = margin + Math.max(...stopStrings.map((stop) => Buffer.byteLength(stop)));
  }

  /** Takes a token; returns the stop string that it completed, the one that begins first where there are several. */
  push(token: number): string | undefined {
    this.tokens.push(token);
    const recent = this.decode(this.tokens.slice(-this.window));
    if (!this.stopStrings.some((stop) => recent.includes(stop))) return undefined;
    const text = this.decode(this.tokens);
    let first: { stop: string; at: number } | undefined;
    for (const stop of this.stopStrings) {
      const at = text.indexOf(stop);
      if (at >= 0 && (first === undefined || at < first.at)) first = { stop, at };
    }
    if (first === undefined) return undefined;
    this.text = text.slice(0, first.at);
    return first.stop;
  }
}
