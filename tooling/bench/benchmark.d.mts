/** Types of benchmark.mjs, for benchmarks written in TypeScript. */
export interface Sample {
  median: number;
  minimum: number;
  p10: number;
  p90: number;
  spread: number;
  count: number;
}
export interface MeasureOptions {
  samples?: number;
  milliseconds?: number;
  maximumMilliseconds?: number;
  warmUp?: number;
  clock?: () => number;
}
export interface Environment {
  date: string;
  hardware: { processor: string; cores: number; memoryGiB: number; system: string };
  loadAverage: number;
  versions: Record<string, string | undefined>;
  commit: string | undefined;
  uncommittedChanges: boolean;
}
export function processorTime(): number;
export function measure(run: () => void, options?: MeasureOptions): Sample;
export function summarize(times: number[]): Sample;
export function describeEnvironment(options: { folder: string; packages?: string[] }): Environment;
export function writeResult(file: string, result: unknown): void;
export function printTable(rows: (string | number)[][]): void;
