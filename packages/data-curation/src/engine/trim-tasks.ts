/**
 * The per-task parts of removing repeated lines and substrings, over one document for each cluster. Three passes of each task:
 * `scan` writes the keys of lines and the fingerprints; `locate` writes every n-gram of documents that share a fingerprint; `apply`
 * writes the new texts. Between them the main thread finds what repeats. Each pass is idempotent: its files appear whole.
 */

import { join } from 'node:path';
import type { DuckDBAppender, DuckDBConnection, DuckDBInstance, DuckDBValue } from '@duckdb/node-api';
import type { DeduplicationPlan } from '../plan/deduplication-schema.js';
import { forEachGram } from '../text/rolling-grams.js';
import { wordHashes } from '../text/word-hashes.js';
import type { KeyedLine } from '../trim/line-keys.js';
import { keyedLines } from '../trim/line-keys.js';
import type { TextRange } from '../trim/remove-ranges.js';
import { removeRanges, wordRanges } from '../trim/remove-ranges.js';
import { packKey } from '../util/text-key.js';
import { winnow } from '../trim/winnowing.js';
import { canonicalJson } from '../util/canonical-json.js';
import { produceFile, writeFileWhole } from '../util/files.js';
import { sqlFile, sqlString } from '../util/sql.js';
import { streamedRows } from '../util/streamed-rows.js';
import { pieceName } from './work-folder.js';

export interface TrimJob {
  pass: 'scan' | 'locate' | 'apply';
  task: number;
  /** Document numbers of the task: [first, last). */
  first: number;
  last: number;
  parts: string[];
  representatives: string;
  /** Folder of the trim files. */
  folder: string;
}

export interface TrimCounts {
  /** Documents in which lines, and in which substrings, were removed. */
  lines: number;
  substrings: number;
  /** Documents with too little left. */
  emptied: number;
  bytesRemoved: number;
}

export const trimFiles = {
  lines: (folder: string, task: number) => join(folder, `${pieceName(task)}-lines.parquet`),
  prints: (folder: string, task: number) => join(folder, `${pieceName(task)}-prints.parquet`),
  grams: (folder: string, task: number) => join(folder, `${pieceName(task)}-grams.parquet`),
  texts: (folder: string, task: number) => join(folder, `${pieceName(task)}-texts.parquet`),
  done: (folder: string, task: number, pass: TrimJob['pass']) => join(folder, `${pieceName(task)}-${pass}.json`),
  commonLines: (folder: string) => join(folder, 'common-lines.parquet'),
  candidates: (folder: string) => join(folder, 'candidates.parquet'),
  repeats: (folder: string) => join(folder, 'repeats.parquet'),
};

/** A line is about 100 bytes of heap here. */
const maximumCountedLines = 200_000;

interface TrimDocument {
  /** Index of the part in the task. */
  part: number;
  document: number;
  position: number;
  domain: string;
  text: string;
}

export async function runTrimJob(job: TrimJob, plan: DeduplicationPlan, database: DuckDBInstance): Promise<void> {
  const connections: Connections = {
    reading: await database.connect(),
    lookingUp: await database.connect(),
    writing: await database.connect(),
  };
  try {
    if (job.pass === 'scan') await scan(job, plan, connections);
    else if (job.pass === 'locate') await locate(job, plan, connections);
    else await apply(job, plan, connections);
  } finally {
    connections.reading.closeSync();
    connections.lookingUp.closeSync();
    connections.writing.closeSync();
  }
}

/** A connection streams one result at a time. */
interface Connections {
  reading: DuckDBConnection;
  lookingUp: DuckDBConnection;
  writing: DuckDBConnection;
}

async function scan(job: TrimJob, plan: DeduplicationPlan, { reading, writing }: Connections) {
  await writing.run(`
    CREATE OR REPLACE TABLE lines (part INTEGER, low UINTEGER, high UINTEGER, documents INTEGER);
    CREATE OR REPLACE TABLE prints (low UINTEGER, high UINTEGER, document INTEGER)`);
  const prints = await writing.createAppender('prints');
  const lines = new LineCounts(await writing.createAppender('lines'));
  for await (const { part, document, domain, text } of documents(job, reading)) {
    lines.startDocument(part, document);
    if (plan.lines?.domains.includes(domain)) {
      for (const { low, high } of keyedLines(text, plan.lines.minimumCharacters)) lines.add(low, high);
    }
    if (plan.substrings?.domains.includes(domain)) {
      const n = Math.ceil(plan.substrings.words / 2);
      for (const { low, high } of winnow(wordHashes(text), n, plan.substrings.words - n + 1)) {
        prints.appendUInteger(low);
        prints.appendUInteger(high);
        prints.appendInteger(document);
        prints.endRow();
      }
    }
  }
  prints.closeSync();
  lines.close();
  await copyTable(writing, 'lines', trimFiles.lines(job.folder, job.task));
  await copyTable(writing, 'prints', trimFiles.prints(job.folder, job.task));
  await writing.run('DROP TABLE lines; DROP TABLE prints');
  await writeFileWhole(trimFiles.done(job.folder, job.task, 'scan'), '{}');
}

/** In how many documents each line of a part stands. Memory: a bounded number of lines; counts of one line may come in pieces. */
class LineCounts {
  readonly #appender: DuckDBAppender;
  readonly #counts = new Map<number, { low: number; high: number; documents: number; last: number }>();
  #part = 0;
  #document = -1;

  constructor(appender: DuckDBAppender) {
    this.#appender = appender;
  }

  startDocument(part: number, document: number): void {
    if (part !== this.#part || this.#counts.size >= maximumCountedLines) this.#flush();
    this.#part = part;
    this.#document = document;
  }

  add(low: number, high: number): void {
    const key = packKey(low, high);
    const entry = this.#counts.get(key);
    if (entry === undefined) {
      this.#counts.set(key, { low, high, documents: 1, last: this.#document });
    } else if (entry.last !== this.#document) {
      entry.documents++;
      entry.last = this.#document;
    }
  }

  close(): void {
    this.#flush();
    this.#appender.closeSync();
  }

  #flush(): void {
    for (const { low, high, documents } of this.#counts.values()) {
      this.#appender.appendInteger(this.#part);
      this.#appender.appendUInteger(low);
      this.#appender.appendUInteger(high);
      this.#appender.appendInteger(documents);
      this.#appender.endRow();
    }
    this.#counts.clear();
  }
}

async function locate(job: TrimJob, plan: DeduplicationPlan, { reading, writing }: Connections) {
  const width = plan.substrings!.words;
  await writing.run('CREATE OR REPLACE TABLE grams (low UINTEGER, high UINTEGER, document INTEGER, word INTEGER)');
  const appender = await writing.createAppender('grams');
  const candidates = `document IN (SELECT document FROM read_parquet(${sqlFile(trimFiles.candidates(job.folder))}))`;
  for await (const { document, text } of documents(job, reading, candidates)) {
    forEachGram(wordHashes(text), width, (start, low, high) => {
      appender.appendUInteger(low);
      appender.appendUInteger(high);
      appender.appendInteger(document);
      appender.appendInteger(start);
      appender.endRow();
    });
  }
  appender.closeSync();
  await copyTable(writing, 'grams', trimFiles.grams(job.folder, job.task));
  await writing.run('DROP TABLE grams');
  await writeFileWhole(trimFiles.done(job.folder, job.task, 'locate'), '{}');
}

async function apply(job: TrimJob, plan: DeduplicationPlan, { reading, lookingUp, writing }: Connections) {
  const repeats = plan.substrings === undefined ? undefined : await RepeatedStarts.open(job, lookingUp);
  const common = plan.lines === undefined ? undefined : await CommonLines.open(job, writing);
  const counts: TrimCounts = { lines: 0, substrings: 0, emptied: 0, bytesRemoved: 0 };
  await writing.run('CREATE OR REPLACE TABLE texts (task INTEGER, position INTEGER, text VARCHAR, text_bytes INTEGER)');
  const appender = await writing.createAppender('texts');
  for await (const { part, document, position, domain, text } of documents(job, reading)) {
    const starts = repeats === undefined ? [] : await repeats.of(document);
    let lines: KeyedLine[] = [];
    if (common !== undefined && plan.lines!.domains.includes(domain)) {
      const keys = await common.of(part);
      if (keys.size > 0) {
        lines = keyedLines(text, plan.lines!.minimumCharacters).filter(({ low, high }) => keys.has(packKey(low, high)));
      }
    }
    if (lines.length === 0 && starts.length === 0) continue;
    if (lines.length > 0) counts.lines++;
    if (starts.length > 0) counts.substrings++;
    const ranges: TextRange[] = lines.map(({ start, end }) => [start, end]);
    ranges.push(...spansOf(text, starts, plan.substrings?.words ?? 0));
    let left = removeRanges(text, ranges);
    if (left.trim().length < plan.minimumCharactersLeft) {
      left = '';
      counts.emptied++;
    }
    const bytes = Buffer.byteLength(left);
    counts.bytesRemoved += Buffer.byteLength(text) - bytes;
    appender.appendInteger(job.task);
    appender.appendInteger(position);
    appender.appendVarchar(left);
    appender.appendInteger(bytes);
    appender.endRow();
  }
  appender.closeSync();
  await copyTable(writing, 'texts', trimFiles.texts(job.folder, job.task));
  await writing.run('DROP TABLE texts; DROP TABLE IF EXISTS found');
  await writeFileWhole(trimFiles.done(job.folder, job.task, 'apply'), canonicalJson(counts));
}

/** Word positions → character ranges of `width` words each. */
function spansOf(text: string, starts: readonly number[], width: number): TextRange[] {
  if (starts.length === 0) return [];
  const words = wordRanges(text);
  return starts.map((start) => [words[start][0], words[start + width - 1][1]]);
}

/** The representatives of the task that `condition` lets in, in order. Memory: the text of one part. */
async function* documents(
  job: TrimJob,
  connection: DuckDBConnection,
  condition = 'true',
): AsyncGenerator<TrimDocument> {
  for (const [part, path] of job.parts.entries()) {
    const result = await connection.stream(`
      SELECT chosen.document, part.position, chosen.domain, part.text
      FROM read_parquet(${sqlFile(path)}) AS part
      JOIN (
        SELECT document, position, domain FROM read_parquet(${sqlFile(job.representatives)})
        WHERE document >= ${job.first} AND document < ${job.last} AND ${condition}
      ) AS chosen USING (position)
      ORDER BY chosen.document`);
    for await (const [document, position, domain, text] of streamedRows(result)) {
      yield {
        part,
        document: Number(document),
        position: Number(position),
        domain: String(domain),
        text: String(text),
      };
    }
  }
}

/** The common lines of one part after the other. */
class CommonLines {
  readonly #connection: DuckDBConnection;
  #part = -1;
  #keys = new Set<number>();

  private constructor(connection: DuckDBConnection) {
    this.#connection = connection;
  }

  static async open(job: TrimJob, connection: DuckDBConnection): Promise<CommonLines> {
    await connection.run(`
      CREATE OR REPLACE TABLE found AS
      SELECT DISTINCT part, low, high FROM read_parquet(${sqlFile(trimFiles.lines(job.folder, job.task))}) AS lines
      SEMI JOIN read_parquet(${sqlFile(trimFiles.commonLines(job.folder))}) AS common USING (low, high)`);
    return new CommonLines(connection);
  }

  async of(part: number): Promise<ReadonlySet<number>> {
    if (part !== this.#part) {
      const reader = await this.#connection.runAndReadAll(`SELECT low, high FROM found WHERE part = ${part}`);
      this.#part = part;
      this.#keys = new Set(reader.getRows().map(([low, high]) => packKey(Number(low), Number(high))));
    }
    return this.#keys;
  }
}

/** The word positions at which repeated substrings start, document by document, read along with the documents. */
class RepeatedStarts {
  readonly #rows: AsyncGenerator<DuckDBValue[]>;
  #next: { document: number; word: number } | undefined;

  private constructor(rows: AsyncGenerator<DuckDBValue[]>) {
    this.#rows = rows;
  }

  static async open(job: TrimJob, connection: DuckDBConnection): Promise<RepeatedStarts> {
    const result = await connection.stream(`
      SELECT document, word FROM read_parquet(${sqlFile(trimFiles.repeats(job.folder))})
      WHERE document >= ${job.first} AND document < ${job.last} ORDER BY document, word`);
    const starts = new RepeatedStarts(streamedRows(result));
    await starts.#advance();
    return starts;
  }

  /** Documents have to be asked for in order; those left out are passed over. */
  async of(document: number): Promise<number[]> {
    const words: number[] = [];
    while (this.#next !== undefined && this.#next.document <= document) {
      if (this.#next.document === document) words.push(this.#next.word);
      await this.#advance();
    }
    return words;
  }

  async #advance(): Promise<void> {
    const { value } = (await this.#rows.next()) as { value: DuckDBValue[] | undefined };
    this.#next = value === undefined ? undefined : { document: Number(value[0]), word: Number(value[1]) };
  }
}

async function copyTable(connection: DuckDBConnection, table: string, path: string): Promise<void> {
  await produceFile(path, async (temporary) => {
    await connection.run(
      `COPY ${table} TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)`,
    );
  });
}
