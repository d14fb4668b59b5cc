/** One line on a preference optimization, for the terminal and the report. */
import type { DirectPreferenceOptimizationResult } from '@xgen-small/posttrain';
import { formatPercent } from '../terminal/format.js';

export type PreferenceSummary = Pick<DirectPreferenceOptimizationResult, 'pairs' | 'final' | 'heldOut'>;

/** What the training did: on pairs that it did not see, where some were held out; else on the last step's. */
export function describePreferences({ pairs, final, heldOut }: PreferenceSummary): string {
  const { accuracy, rewardMargin } = heldOut ?? final;
  const of = heldOut === undefined ? "of the last step's" : 'of those held out';
  return `${pairs.used} pairs; ${formatPercent(accuracy)} ${of} ranked right, margin ${rewardMargin.toFixed(2)}`;
}
