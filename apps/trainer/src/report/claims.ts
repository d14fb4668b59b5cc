/**
 * What a run has to show, decided from its own figures: the model beats the bigram baseline in every domain, extension makes
 * retrieval at the extended length far better, PPO lifts held-out accuracy by more than its seeds differ. A claim that does not
 * hold is reported as such.
 */

export interface AccuracyEstimate {
  mean: number;
  low: number;
  high: number;
  count: number;
}

export interface EvaluationSummary {
  losses: {
    contextLength: number;
    uniform: number;
    domains: Record<
      string,
      { tokens: number; scoredTokens?: number; unigram: number; bigram: number; pretrain: number; extend: number }
    >;
  };
  needle: Record<
    'before' | 'after',
    {
      lengths: number[];
      depths: number[];
      matrix: number[][];
      byLength: { length: number; accuracy: AccuracyEstimate }[];
    }
  >;
  /** `sampled`: answers drawn at PPO's own temperature, several a problem; `greedy`: the most likely answer. */
  maths: { name: string; sampled: AccuracyEstimate; greedy: AccuracyEstimate }[];
}

export interface Claim {
  title: string;
  holds: boolean;
  detail: string;
}

/** "Clearly": a tenth of a nat a token, some ten percent in perplexity. */
const clearMarginNats = 0.1;
/** "Far above": 50 points. */
const farAbove = 0.5;

const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;

export function claimsOf({ losses, needle, maths }: EvaluationSummary): Claim[] {
  const domains = Object.entries(losses.domains).filter(([, row]) => Number.isFinite(row.pretrain));
  const worst = domains
    .map(([domain, row]) => ({ domain, margin: row.bigram - row.pretrain }))
    .sort((a, b) => a.margin - b.margin)[0];
  const before = needle.before.byLength.at(-1)!;
  const after = needle.after.byLength.at(-1)!;
  const sft = maths.find(({ name }) => name === 'sft')!;
  const ppo = maths.filter(({ name }) => name.startsWith('ppo'));
  const sampled = ppo.map((row) => row.sampled.mean);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const spread = Math.max(...sampled) - Math.min(...sampled);
  return [
    {
      title: 'Held-out loss is clearly below the bigram baseline in each domain',
      holds: domains.length > 0 && worst.margin > clearMarginNats,
      detail:
        domains
          .map(([domain, row]) => `${domain} ${row.pretrain.toFixed(2)} against ${row.bigram.toFixed(2)}`)
          .join(', ') + ' nats a token',
    },
    {
      title: `Retrieval at ${after.length.toLocaleString('en')} tokens is far better after extension`,
      holds: after.accuracy.mean - before.accuracy.mean > farAbove,
      detail: `${percent(before.accuracy.mean)} → ${percent(after.accuracy.mean)} of ${after.accuracy.count} needles`,
    },
    {
      title: `PPO lifts held-out maths accuracy above SFT's by more than the spread of its ${ppo.length} seeds`,
      holds: ppo.length > 1 && mean(sampled) - sft.sampled.mean > spread,
      detail: `sampled answers: SFT ${percent(sft.sampled.mean)} → PPO ${percent(mean(sampled))} on average (${sampled.map(percent).join(', ')}; spread ${percent(spread)}); greedy: ${percent(sft.greedy.mean)} → ${percent(mean(ppo.map((row) => row.greedy.mean)))}`,
    },
  ];
}
