/** Sums losses by domain, tokens and time between two metrics rows. Sums are part of the checkpoint, times are not. */
import type { PretrainMetricsRow } from '../metrics/metrics-row';
import type { DomainSums } from './training-state';

export class MetricsMeter {
  private readonly negativeLogLikelihood: Float64Array;
  private readonly targets: Float64Array;
  /** Of this process since the last row. */
  private tokens = 0;
  private seconds = 0;
  /** Of the stage up to the last row. */
  private earlierSeconds = 0;
  private startedAt = 0;

  constructor(private readonly domainNames: readonly string[]) {
    this.negativeLogLikelihood = new Float64Array(domainNames.length);
    this.targets = new Float64Array(domainNames.length);
  }

  resume(sums: DomainSums, seconds: number): void {
    this.domainNames.forEach((name, i) => {
      this.negativeLogLikelihood[i] = sums[name]?.negativeLogLikelihood ?? 0;
      this.targets[i] = sums[name]?.targets ?? 0;
    });
    this.earlierSeconds = seconds;
  }

  /** A step begins; its packing counts, checkpoints and waiting before it don't. */
  start(): void {
    this.startedAt = performance.now();
  }

  add(step: { negativeLogLikelihood: Float64Array; targets: Float64Array }, tokens: number): void {
    this.domainNames.forEach((_, i) => {
      this.negativeLogLikelihood[i] += step.negativeLogLikelihood[i];
      this.targets[i] += step.targets[i];
    });
    this.tokens += tokens;
    this.seconds += (performance.now() - this.startedAt) / 1000;
  }

  sums(): DomainSums {
    const present = this.domainNames.map((name, i) => [name, i] as const).filter(([, i]) => this.targets[i] > 0);
    return Object.fromEntries(
      present.map(([name, i]) => [
        name,
        { negativeLogLikelihood: this.negativeLogLikelihood[i], targets: this.targets[i] },
      ]),
    );
  }

  /** The row since the last one, and a fresh start. */
  row(at: Pick<PretrainMetricsRow, 'stage' | 'step' | 'tokens' | 'learningRate' | 'gradientNorm'>): PretrainMetricsRow {
    const sums = Object.entries(this.sums());
    const total = sums.reduce((sum, [, domain]) => sum + domain.negativeLogLikelihood, 0);
    const targets = sums.reduce((sum, [, domain]) => sum + domain.targets, 0);
    const row: PretrainMetricsRow = {
      stage: at.stage,
      step: at.step,
      tokens: at.tokens,
      loss: total / Math.max(1, targets),
      lossByDomain: Object.fromEntries(
        sums.map(([name, domain]) => [name, domain.negativeLogLikelihood / domain.targets]),
      ),
      learningRate: at.learningRate,
      gradientNorm: at.gradientNorm,
      tokensPerSecond: this.tokens / Math.max(1e-9, this.seconds),
      seconds: this.earlierSeconds + this.seconds,
    };
    this.resume({}, row.seconds);
    this.tokens = 0;
    this.seconds = 0;
    return row;
  }
}
