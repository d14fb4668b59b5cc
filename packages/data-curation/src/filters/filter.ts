/**
 * The contract of a filter. A filter is a pure function of one document: it keeps it, drops it with a reason from a short
 * fixed list (the reasons are counted), or changes its text. It never sees another document.
 */

import type { CandidateDocument } from '../text/candidate.js';

export type FilterOutcome =
  | undefined
  | {
      drop: string;
      /** The measured value and its limit, for the report. */
      detail: string;
    }
  | {
      /** The new text. */
      text: string;
      /** What was changed, counted by document. */
      change: string;
    };

export interface DocumentFilter {
  readonly name: string;
  apply(document: CandidateDocument): FilterOutcome;
}

export const keep: FilterOutcome = undefined;

/** Formats a share for the report. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
