/**
 * Finds stop strings in text that arrives in pieces. Text is let go as soon as no stop string can begin in it any more, so that
 * a stop string is never seen in part, however its characters fall on tokens.
 */

export interface StopMatch {
  /** Text that may be shown now. */
  text: string;
  /** A stop string was found; `text` ends before it, and nothing follows. */
  stopped: boolean;
}

export class StopMatcher {
  private held = '';

  constructor(private readonly stops: readonly string[]) {}

  push(piece: string): StopMatch {
    if (this.stops.length === 0) return { text: piece, stopped: false };
    const text = this.held + piece;
    const found = earliest(text, this.stops);
    if (found >= 0) {
      this.held = '';
      return { text: text.slice(0, found), stopped: true };
    }
    const keep = longestBeginning(text, this.stops);
    this.held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), stopped: false };
  }

  /** What was held back, once it is clear that nothing follows. */
  finish(): string {
    const { held } = this;
    this.held = '';
    return held;
  }
}

function earliest(text: string, stops: readonly string[]): number {
  let first = -1;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at >= 0 && (first < 0 || at < first)) first = at;
  }
  return first;
}

/** Length of the longest end of `text` that begins a stop string. */
function longestBeginning(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) {
        longest = length;
        break;
      }
    }
  }
  return longest;
}
