/**
 * The log of one evaluation: JSONL, a header line and then one line a sample, appended and flushed to disk as each is done.
 * A process killed in the middle of a line loses that line only: the torn end is cut off when the log is opened again. The
 * header holds the settings the samples depend on; a log with others is refused, never mixed. Cost: one read of the file.
 */

import { mkdir, open, readFile, truncate, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import type { ModelIdentity } from '../model/types.js';
import type { SampleRecord } from './types.js';

const format = 'xgen-small/samples';
const version = 1;

const headerSchema = z.object({
  format: z.literal(format),
  version: z.literal(version),
  task: z.string(),
  model: z.string(),
  settings: z.record(z.string(), z.unknown()),
  identity: z.object({ settings: z.record(z.string(), z.unknown()), probe: z.array(z.number()) }).optional(),
});

type Header = z.infer<typeof headerSchema>;

const recordSchema = z.object({
  id: z.string(),
  group: z.string(),
  prompt: z.string(),
  promptSha256: z.string(),
  completions: z.array(z.string()),
  references: z.array(z.string()),
  scores: z.array(z.number()),
  score: z.number(),
  finishReasons: z.array(z.string()),
  promptTokens: z.number().optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
});

export interface SampleLogHeader {
  task: string;
  model: string;
  /** JSON values only. */
  settings: Record<string, unknown>;
  identity?: ModelIdentity;
}

export class SampleLog {
  private constructor(
    private readonly handle: FileHandle,
    /** Samples that were there already, by id. */
    readonly finished: ReadonlyMap<string, SampleRecord>,
  ) {}

  private tail: Promise<void> = Promise.resolve();

  static async open(file: string, header: SampleLogHeader): Promise<SampleLog> {
    await mkdir(path.dirname(file), { recursive: true });
    const headerLine = `${JSON.stringify({ format, version, ...header })}\n`;
    const text = await readIfPresent(file);
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole.length < text.length) await truncate(file, Buffer.byteLength(whole));
    const finished = whole === '' ? new Map<string, SampleRecord>() : parseLog(file, whole, JSON.parse(headerLine));
    const handle = await open(file, 'a');
    const log = new SampleLog(handle, finished);
    if (whole === '') await log.write(headerLine);
    return log;
  }

  /** Resolves once the line is on disk. Calls may overlap; lines never do. */
  append(record: SampleRecord): Promise<void> {
    return this.write(`${JSON.stringify(record)}\n`);
  }

  async close(): Promise<void> {
    await this.tail.catch(() => undefined);
    await this.handle.close();
  }

  private write(text: string): Promise<void> {
    this.tail = this.tail.then(async () => {
      await this.handle.appendFile(text);
      await this.handle.datasync();
    });
    return this.tail;
  }
}

async function readIfPresent(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

function parseLog(file: string, text: string, expected: unknown): Map<string, SampleRecord> {
  const lines = text.split('\n');
  lines.pop();
  const header = parseLine(file, 1, lines[0] ?? '', headerSchema);
  const wanted = headerSchema.parse(expected);
  const differences = [
    ...(header.task === wanted.task ? [] : ['task']),
    ...(header.model === wanted.model ? [] : ['model']),
    ...(sameModel(header, wanted) ? [] : ['weights or configuration of the model']),
    ...differingKeys(header.settings, wanted.settings),
  ];
  if (differences.length > 0) {
    throw new EvaluationError('LOG_MISMATCH', `${file} was written with other settings (${differences.join(', ')}).`, {
      value: differences,
      remedy: 'Give another output folder or task name, or move the old log away.',
    });
  }
  const records = new Map<string, SampleRecord>();
  for (let i = 1; i < lines.length; i++) {
    const record = parseLine(file, i + 1, lines[i] ?? '', recordSchema);
    if (!records.has(record.id)) records.set(record.id, record);
  }
  return records;
}

/** A probe within 0.1 % is the same model on other hardware; training moves it further. */
function sameModel({ identity: a }: Header, { identity: b }: Header): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (differingKeys(a.settings, b.settings).length > 0 || a.probe.length !== b.probe.length) return false;
  return a.probe.every((value, i) => Math.abs(value - b.probe[i]) <= 1e-3 * Math.max(1, Math.abs(value)));
}

function parseLine<T extends z.ZodType>(file: string, line: number, text: string, schema: T): z.infer<T> {
  let cause: unknown;
  try {
    const result = schema.safeParse(JSON.parse(text));
    if (result.success) return result.data;
    cause = result.error;
  } catch (error) {
    cause = error;
  }
  throw new EvaluationError('LOG_CORRUPT', `Line ${line} of ${file} is not a line of a sample log.`, {
    value: text.slice(0, 200),
    remedy: 'Remove that line to have its sample run again, or move the file away.',
    cause,
  });
}

function differingKeys(a: Record<string, unknown>, b: Record<string, unknown>): string[] {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key])).sort();
}
