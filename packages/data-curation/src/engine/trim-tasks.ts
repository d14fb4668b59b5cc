/**
 * The per-task parts of removing repeated lines and substrings, over one document for each cluster. Three passes of each task:
 * `scan` writes the keys of lines and the fingerprints; `locate` writes every n-gram of documents that share a fingerprint; `apply`
 * writes the new texts. Between them the main thread finds what repeats. Each pass is idempotent: its files appear whole.
 */

import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import type { DeduplicationPlan } from '../plan/deduplication-schema.js';
import { forEachGram } from '../text/rolling-grams.js';
import { wordHashes } from '../text/word-hashes.js';
import { keyedLines } from '../trim/line-keys.js';
import type { TextRange } from '../trim/remove-ranges.js';
import { removeRanges, wordRanges } from '../trim/remove-ranges.js';
import { packKey } from '../util/text-key.js';
import { winnow } from '../trim/winnowing.js';
import { canonicalJson } from '../util/canonical-json.js';
import { produceFile, writeFileWhole } from '../util/files.js';
import { sqlList, sqlString } from '../util/sql.js';
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

interface TrimDocument {
  document: number;
  position: number;
  domain: string;
  text: string;
}

export async function runTrimJob(job: TrimJob, plan: DeduplicationPlan, database: DuckDBInstance): Promise<void> {
  const reading = await database.connect();
  const writing = await database.connect();
  try {
    if (job.pass === 'scan') await scan(job, plan, reading, writing);
    else if (job.pass === 'locate') await locate(job, plan, reading, writing);
    else await apply(job, plan, reading, writing);
  } finally {
    reading.closeSync();
    writing.closeSync();
  }
}

async function scan(job: TrimJob, plan: DeduplicationPlan, reading: DuckDBConnection, writing: DuckDBConnection) {
  const lineCounts = new Map<number, { low: number; high: number; documents: number; last: number }>();
  await writing.run('CREATE OR REPLACE TABLE prints (low UINTEGER, high UINTEGER, document INTEGER)');
  const prints = await writing.createAppender('prints');
  for await (const { document, domain, text } of documents(job, reading)) {
    if (plan.lines?.domains.includes(domain)) {
      for (const { low, high } of keyedLines(text, plan.lines.minimumCharacters)) {
        const key = packKey(low, high);
        const entry = lineCounts.get(key);
        if (entry === undefined) lineCounts.set(key, { low, high, documents: 1, last: document });
        else if (entry.last !== document) {
          entry.documents++;
          entry.last = document;
        }
      }
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
  await writing.run('CREATE OR REPLACE TABLE lines (low UINTEGER, high UINTEGER, documents INTEGER)');
  const lines = await writing.createAppender('lines');
  for (const { low, high, documents: count } of lineCounts.values()) {
    lines.appendUInteger(low);
    lines.appendUInteger(high);
    lines.appendInteger(count);
    lines.endRow();
  }
  lines.closeSync();
  await copyTable(writing, 'lines', trimFiles.lines(job.folder, job.task));
  await copyTable(writing, 'prints', trimFiles.prints(job.folder, job.task));
  await writing.run('DROP TABLE lines; DROP TABLE prints');
  await writeFileWhole(trimFiles.done(job.folder, job.task, 'scan'), '{}');
}

async function locate(job: TrimJob, plan: DeduplicationPlan, reading: DuckDBConnection, writing: DuckDBConnection) {
  const width = plan.substrings!.words;
  const wanted = await integers(
    reading,
    `SELECT document FROM read_parquet(${sqlString(trimFiles.candidates(job.folder))})
     WHERE document >= ${job.first} AND document < ${job.last}`,
  );
  const candidates = new Set(wanted);
  await writing.run('CREATE OR REPLACE TABLE grams (low UINTEGER, high UINTEGER, document INTEGER, word INTEGER)');
  const appender = await writing.createAppender('grams');
  if (candidates.size > 0) {
    for await (const { document, text } of documents(job, reading)) {
      if (!candidates.has(document)) continue;
      forEachGram(wordHashes(text), width, (start, low, high) => {
        appender.appendUInteger(low);
        appender.appendUInteger(high);
        appender.appendInteger(document);
        appender.appendInteger(start);
        appender.endRow();
      });
    }
  }
  appender.closeSync();
  await copyTable(writing, 'grams', trimFiles.grams(job.folder, job.task));
  await writing.run('DROP TABLE grams');
  await writeFileWhole(trimFiles.done(job.folder, job.task, 'locate'), '{}');
}

async function apply(job: TrimJob, plan: DeduplicationPlan, reading: DuckDBConnection, writing: DuckDBConnection) {
  const common = plan.lines === undefined ? new Set<number>() : await commonLines(job, reading);
  const repeats = plan.substrings === undefined ? new Map<number, number[]>() : await repeatedStarts(job, reading);
  const counts: TrimCounts = { lines: 0, substrings: 0, emptied: 0, bytesRemoved: 0 };
  await writing.run('CREATE OR REPLACE TABLE texts (task INTEGER, position INTEGER, text VARCHAR, text_bytes INTEGER)');
  const appender = await writing.createAppender('texts');
  if (common.size > 0 || repeats.size > 0) {
    for await (const { document, position, domain, text } of documents(job, reading)) {
      const lines = plan.lines?.domains.includes(domain)
        ? keyedLines(text, plan.lines.minimumCharacters).filter(({ low, high }) => common.has(packKey(low, high)))
        : [];
      const starts = repeats.get(document) ?? [];
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
  }
  appender.closeSync();
  await copyTable(writing, 'texts', trimFiles.texts(job.folder, job.task));
  await writing.run('DROP TABLE texts');
  await writeFileWhole(trimFiles.done(job.folder, job.task, 'apply'), canonicalJson(counts));
}

/** Word positions → character ranges of `width` words each. */
function spansOf(text: string, starts: readonly number[], width: number): TextRange[] {
  if (starts.length === 0) return [];
  const words = wordRanges(text);
  return starts.map((start) => [words[start][0], words[start + width - 1][1]]);
}

/** The representatives of the task, in order. */
async function* documents(job: TrimJob, connection: DuckDBConnection): AsyncGenerator<TrimDocument> {
  if (job.parts.length === 0) return;
  const result = await connection.stream(`
    SELECT chosen.document, part.position, chosen.domain, part.text
    FROM read_parquet(${sqlList(job.parts)}) AS part
    JOIN (
      SELECT document, position, domain FROM read_parquet(${sqlString(job.representatives)})
      WHERE document >= ${job.first} AND document < ${job.last}
    ) AS chosen USING (position)
    ORDER BY chosen.document`);
  for await (const rows of result.yieldRows()) {
    for (const [document, position, domain, text] of rows) {
      yield { document: Number(document), position: Number(position), domain: String(domain), text: String(text) };
    }
  }
}

async function commonLines(job: TrimJob, connection: DuckDBConnection): Promise<Set<number>> {
  const reader = await connection.runAndReadAll(`
    SELECT found.low, found.high FROM read_parquet(${sqlString(trimFiles.lines(job.folder, job.task))}) AS found
    SEMI JOIN read_parquet(${sqlString(trimFiles.commonLines(job.folder))}) AS common USING (low, high)`);
  return new Set(reader.getRows().map(([low, high]) => packKey(Number(low), Number(high))));
}

async function repeatedStarts(job: TrimJob, connection: DuckDBConnection): Promise<Map<number, number[]>> {
  const reader = await connection.runAndReadAll(`
    SELECT document, word FROM read_parquet(${sqlString(trimFiles.repeats(job.folder))})
    WHERE document >= ${job.first} AND document < ${job.last} ORDER BY document, word`);
  const starts = new Map<number, number[]>();
  for (const [document, word] of reader.getRows()) {
    const list = starts.get(Number(document)) ?? [];
    list.push(Number(word));
    starts.set(Number(document), list);
  }
  return starts;
}

async function integers(connection: DuckDBConnection, query: string): Promise<number[]> {
  const reader = await connection.runAndReadAll(query);
  return reader.getRows().map(([value]) => Number(value));
}

async function copyTable(connection: DuckDBConnection, table: string, path: string): Promise<void> {
  await produceFile(path, async (temporary) => {
    await connection.run(
      `COPY ${table} TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)`,
    );
  });
}
