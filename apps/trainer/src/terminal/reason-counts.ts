/** Counts what was passed over by its reason, with the first place where each occurred. */
import { formatCount } from './format.js';

export class ReasonCounts {
  readonly #reasons = new Map<string, { count: number; first: string }>();

  readonly add = (location: string, reason: string): void => {
    const known = this.#reasons.get(reason);
    if (known) known.count++;
    else this.#reasons.set(reason, { count: 1, first: location });
  };

  lines(verb: string): string[] {
    return [...this.#reasons].map(
      ([reason, { count, first }]) => `${verb}: ${formatCount(count)} × ${reason} (first ${first})`,
    );
  }
}
