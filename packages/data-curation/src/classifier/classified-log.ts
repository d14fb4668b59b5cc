/**
 * What is done in a folder of classified files: `classified.jsonl`, first a line with the classifiers and settings, then one for each
 * finished file. A line is written after its file has its name, so a killed run does at most one file again, to the same bytes. A line that
 * was cut off is dropped. Cost: one small write and fsync a file.
 */

import type { FileHandle } from 'node:fs/promises';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CurationError } from '../errors.js';
import { canonicalJson } from '../util/canonical-json.js';
import { writeFileWhole } from '../util/files.js';

const settingsSchema = z.strictObject({
  formatVersion: z.literal(1),
  /** SHA-256 of each classifier, in the order of their hashes: their mean does not depend on the order. */
  classifiers: z.array(z.string()).min(1),
  textField: z.string(),
  scoreOf: z.string().optional(),
  column: z.string(),
  onBadInput: z.enum(['fail', 'skip']),
});

const entrySchema = z.strictObject({
  input: z.string(),
  inputBytes: z.int(),
  inputModified: z.int(),
  /** Relative to the folder. */
  output: z.string(),
  outputBytes: z.int(),
  documents: z.int(),
  labels: z.array(z.strictObject({ documents: z.int(), probability: z.number() })),
  badInputs: z.record(z.string(), z.int()),
});

export type ClassifiedSettings = z.output<typeof settingsSchema>;
export type ClassifiedFile = z.output<typeof entrySchema>;

const changedSettings = ['classifiers', 'textField', 'scoreOf', 'column', 'onBadInput'] as const;

export class ClassifiedLog {
  private constructor(
    private readonly handle: FileHandle,
    /** By output. */
    readonly entries: ReadonlyMap<string, ClassifiedFile>,
    /** Whether there was none before: then files that lie in the folder are not ours. */
    readonly isNew: boolean,
  ) {}

  /** @throws CurationError `OUTPUT_FOLDER_MISMATCH` for other settings, `OUTPUT_CORRUPT` for something else under this name. */
  static async open(folder: string, settings: ClassifiedSettings): Promise<ClassifiedLog> {
    const path = join(folder, 'classified.jsonl');
    const text = await readFile(path, 'utf8').catch(() => undefined);
    const [first, ...rest] = (text ?? '').split('\n').slice(0, -1);
    const entries = new Map<string, ClassifiedFile>();
    if (text !== undefined) {
      const found = parse(path, settingsSchema, first ?? '');
      for (const line of rest) {
        const entry = parse(path, entrySchema, line);
        entries.set(entry.output, entry);
      }
      // Settings under which no file was finished bind nobody.
      if (entries.size > 0) refuseOther(folder, found, settings);
    }
    await writeFileWhole(path, [settings, ...entries.values()].map((value) => `${canonicalJson(value)}\n`).join(''));
    return new ClassifiedLog(await open(path, 'a'), entries, text === undefined);
  }

  async add(entry: ClassifiedFile): Promise<void> {
    await this.handle.writeFile(`${canonicalJson(entry)}\n`);
    await this.handle.sync();
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

function refuseOther(folder: string, found: ClassifiedSettings, settings: ClassifiedSettings): void {
  const differing = changedSettings.filter(
    (key) => canonicalJson({ value: found[key] }) !== canonicalJson({ value: settings[key] }),
  );
  if (differing.length === 0) return;
  const names = `${differing.join(', ')} differ${differing.length === 1 && differing[0] !== 'classifiers' ? 's' : ''}`;
  throw new CurationError('OUTPUT_FOLDER_MISMATCH', `${folder} was classified otherwise: ${names}.`, {
    value: differing,
    remedy: 'Give another output folder, or the classifiers and options that began this one.',
  });
}

function parse<T>(path: string, schema: z.ZodType<T>, line: string): T {
  try {
    return schema.parse(JSON.parse(line));
  } catch (error) {
    throw new CurationError('OUTPUT_CORRUPT', `${path} does not list classified files.`, {
      value: path,
      remedy: 'Give another output folder; or delete that file and what lies beside it.',
      cause: error,
    });
  }
}
