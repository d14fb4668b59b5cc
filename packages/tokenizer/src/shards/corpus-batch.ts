/** A piece of a corpus that one worker tokenizes at a time: a range of a Parquet file, or rows that came as objects. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { TokenizerError } from '../errors.js';
import type { EncoderModel } from '../encoder-model.js';
import { defaultDomain, readParquetRange, type ParquetRange } from './parquet-source.js';
import type { DocumentEncoder, TokenizedDocuments } from './tokenized-documents.js';

/** A document to tokenize. */
export interface CorpusRow {
  text: string;
  /** Default `text`. */
  domain?: string;
  /** Default 1. */
  quality?: number;
  /** How often the document should be seen; kept beside it, default 1. */
  weight?: number;
}

export type CorpusBatch =
  { kind: 'parquet'; firstRow: number; range: ParquetRange } | { kind: 'rows'; firstRow: number; rows: CorpusRow[] };

export interface CorpusWorkerData {
  model: EncoderModel;
  endOfText: number;
  wide: boolean;
}

export async function tokenizeBatch(encoder: DocumentEncoder, batch: CorpusBatch): Promise<TokenizedDocuments> {
  if (batch.kind === 'parquet') return encoder.encode(await readParquetRange(batch.range));
  const { rows } = batch;
  return encoder.encode({
    texts: rows.map(({ text }) => text),
    domain: (row) => rows[row].domain ?? defaultDomain,
    quality: (row) => rows[row].quality ?? 1,
    weight: (row) => rows[row].weight ?? 1,
  });
}

const rowSchema = z.object({
  text: z.string(),
  domain: z.string().optional(),
  quality: z.number().optional(),
  weight: z.number().optional(),
});

const batchCharacters = 1 << 20;
const batchRows = 4096;

/**
 * Cuts rows into batches and keeps a running SHA-256 after each row (each over the one before and the row), by which a
 * rerun proves that it was given the same rows.
 */
export class RowBatches {
  private readonly rows: Iterable<CorpusRow> | AsyncIterable<CorpusRow>;
  private readonly skip: { rows: number; sha256: string };
  /** Running digests of rows that are not yet in a finished shard, the first of them after row `firstDigest`. */
  private digests: string[] = [];
  private firstDigest = 0;
  private last = '';
  count = 0;

  /** `skip`: rows that an earlier run has used up, and their digest. */
  constructor(rows: Iterable<CorpusRow> | AsyncIterable<CorpusRow>, skip: { rows: number; sha256: string }) {
    this.rows = rows;
    this.skip = skip;
    this.firstDigest = skip.rows;
  }

  /** Digest of all rows so far. */
  get sha256(): string {
    return this.last;
  }

  /** Digest of the first `rows` rows; digests before them are forgotten. */
  digestAfter(rows: number): string {
    this.digests.splice(0, rows - this.firstDigest - 1);
    this.firstDigest = rows - 1;
    return this.digests[0];
  }

  async *batches(): AsyncGenerator<CorpusBatch> {
    let batch: CorpusRow[] = [];
    let characters = 0;
    for await (const value of this.rows) {
      const row = this.check(value);
      this.last = createHash('sha256')
        .update(this.last)
        .update(JSON.stringify([row.domain, row.quality, row.weight]))
        .update(row.text)
        .digest('hex');
      this.count++;
      if (this.count <= this.skip.rows) {
        if (this.count === this.skip.rows) this.checkSkipped();
        continue;
      }
      this.digests.push(this.last);
      batch.push(row);
      characters += row.text.length;
      if (characters >= batchCharacters || batch.length >= batchRows) {
        yield { kind: 'rows', firstRow: this.count - batch.length, rows: batch };
        batch = [];
        characters = 0;
      }
    }
    if (this.count < this.skip.rows) this.checkSkipped();
    if (batch.length > 0) yield { kind: 'rows', firstRow: this.count - batch.length, rows: batch };
  }

  private check(value: unknown): CorpusRow {
    const parsed = rowSchema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new TokenizerError('INVALID_CORPUS', `Row ${this.count} is no document: ${z.prettifyError(parsed.error)}.`, {
      value,
      remedy: 'Give rows of { text, domain?, quality?, weight? }.',
    });
  }

  private checkSkipped(): void {
    if (this.count === this.skip.rows && this.last === this.skip.sha256) return;
    throw new TokenizerError('RESUME_MISMATCH', `The first ${this.skip.rows} rows are not those of the earlier run.`, {
      value: this.count,
      remedy: 'Give the same rows in the same order, or another outputFolder.',
    });
  }
}
