/**
 * What Prometheus asks for, in its text format (version 0.0.4): counters and histograms kept here, gauges read when they are
 * asked for. Labels come from fixed sets, so that nothing grows with traffic.
 */

import type { GenerationEngineStats } from '@xgen-small/model-core';

const secondsBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

class Histogram {
  private readonly counts = new Array<number>(secondsBuckets.length + 1).fill(0);
  private sum = 0;

  observe(seconds: number): void {
    const bucket = secondsBuckets.findIndex((bound) => seconds <= bound);
    this.counts[bucket < 0 ? secondsBuckets.length : bucket]++;
    this.sum += seconds;
  }

  lines(name: string): string[] {
    let total = 0;
    const buckets = this.counts.map((count, i) => {
      total += count;
      return `${name}_bucket{le="${i < secondsBuckets.length ? secondsBuckets[i] : '+Inf'}"} ${total}`;
    });
    return [...buckets, `${name}_sum ${this.sum}`, `${name}_count ${total}`];
  }
}

export class Metrics {
  private readonly requests = new Map<string, number>();
  private readonly requestSeconds = new Histogram();
  private readonly firstTokenSeconds = new Histogram();
  private readonly stepSeconds = new Histogram();
  private promptTokens = 0;
  private completionTokens = 0;
  private cancelled = 0;

  step(milliseconds: number): void {
    this.stepSeconds.observe(milliseconds / 1000);
  }

  request(path: string, status: number): void {
    const key = `path="${path}",status="${status}"`;
    this.requests.set(key, (this.requests.get(key) ?? 0) + 1);
  }

  generation(event: {
    milliseconds: number;
    firstTokenMilliseconds?: number;
    promptTokens: number;
    completionTokens: number;
    cancelled: boolean;
  }): void {
    this.requestSeconds.observe(event.milliseconds / 1000);
    if (event.firstTokenMilliseconds !== undefined) this.firstTokenSeconds.observe(event.firstTokenMilliseconds / 1000);
    this.promptTokens += event.promptTokens;
    this.completionTokens += event.completionTokens;
    if (event.cancelled) this.cancelled++;
  }

  render(stats: GenerationEngineStats): string {
    const families: [name: string, type: string, help: string, lines: string[]][] = [
      [
        'xgen_http_requests_total',
        'counter',
        'Requests by path and status.',
        [...this.requests].map(([labels, count]) => `xgen_http_requests_total{${labels}} ${count}`),
      ],
      single('xgen_requests_cancelled_total', 'counter', 'Generations whose client hung up.', this.cancelled),
      single('xgen_prompt_tokens_total', 'counter', 'Prompt tokens of finished requests.', this.promptTokens),
      single(
        'xgen_completion_tokens_total',
        'counter',
        'Tokens generated for finished requests.',
        this.completionTokens,
      ),
      single('xgen_sequences_active', 'gauge', 'Sequences with a place in the cache.', stats.active),
      single('xgen_sequences_waiting', 'gauge', 'Sequences that wait for a place.', stats.waiting),
      single('xgen_cache_blocks', 'gauge', 'Blocks of the key-value cache.', stats.totalBlocks),
      single('xgen_cache_blocks_free', 'gauge', 'Blocks of the key-value cache in no sequence.', stats.freeBlocks),
      single('xgen_preemptions_total', 'counter', 'Sequences put back for want of cache.', stats.preemptions),
      [
        'xgen_request_seconds',
        'histogram',
        'From request to last token.',
        this.requestSeconds.lines('xgen_request_seconds'),
      ],
      [
        'xgen_first_token_seconds',
        'histogram',
        'From request to first token.',
        this.firstTokenSeconds.lines('xgen_first_token_seconds'),
      ],
      ['xgen_step_seconds', 'histogram', 'One forward of the engine.', this.stepSeconds.lines('xgen_step_seconds')],
    ];
    return `${families
      .flatMap(([name, type, help, lines]) => [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines])
      .join('\n')}\n`;
  }
}

function single(name: string, type: string, help: string, value: number): [string, string, string, string[]] {
  return [name, type, help, [`${name} ${value}`]];
}
