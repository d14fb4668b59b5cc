/**
 * A corpus → token shards. Workers read and tokenize pieces of the input ahead; this thread puts them into shards in the
 * order of the input, so the bytes are the same whatever the number of workers. A rerun after an interruption continues
 * after the last finished shard and ends with the same bytes.
 *
 * Memory: about two pieces of input (4 MiB of text each, or one row where that is larger) a worker.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../atomic-file.js';
import { createEncoderModel } from '../encoder-model.js';
import { TokenizerError } from '../errors.js';
import { inOrder } from '../in-order.js';
import { Tokenizer } from '../tokenizer.js';
import type { LongTaskOptions } from '../types.js';
import { resolveWorkerCount, WorkerPool } from '../worker-pool.js';
import { RowBatches, tokenizeBatch, type CorpusBatch, type CorpusRow, type CorpusWorkerData } from './corpus-batch.js';
import {
  corruptShards,
  manifestName,
  readManifest,
  requireLittleEndian,
  shardParts,
  type ShardManifest,
} from './manifest.js';
import { planParquetFile, type CorpusColumns, type ParquetInput } from './parquet-source.js';
import { ShardAssembler } from './shard-assembler.js';
import { closeProgress, openProgress } from './shard-writer.js';
import { DocumentEncoder, type TokenizedDocuments } from './tokenized-documents.js';

export interface TokenizeCorpusOptions extends LongTaskOptions {
  /** Parquet files, in order; or give `rows`. */
  parquetFiles?: readonly string[];
  /** Documents, in order; read once, and again from the start when an interrupted run is repeated. */
  rows?: Iterable<CorpusRow> | AsyncIterable<CorpusRow>;
  tokenizer: Tokenizer;
  /** Holds one corpus; created when missing. */
  outputFolder: string;
  /** A shard ends with the document that reaches this; default 2²⁶ (128 MiB in uint16). */
  tokensPerShard?: number;
  /** The token that ends every document; default `<|endoftext|>`, else `<|end_of_text|>`. */
  endOfText?: string;
  /** Names of the Parquet columns; default `text`, and `domain`, `quality`, `weight` where the files have them. */
  columns?: Partial<CorpusColumns>;
  /** Threads that tokenize; 0 for none besides this one; default one for each core. */
  workers?: number;
}

const optionsSchema = z.strictObject({
  parquetFiles: z.array(z.string().min(1)).optional(),
  rows: z.custom<TokenizeCorpusOptions['rows']>((value) => typeof value === 'object' && value !== null).optional(),
  tokenizer: z.custom<Tokenizer>((value) => value instanceof Tokenizer, 'not a Tokenizer of this package'),
  outputFolder: z.string().min(1),
  tokensPerShard: z
    .int()
    .positive()
    .default(1 << 26),
  endOfText: z.string().optional(),
  columns: z
    .strictObject({
      text: z.string(),
      domain: z.string().nullable(),
      quality: z.string().nullable(),
      weight: z.string().nullable(),
    })
    .partial()
    .default({}),
  workers: z.int().nonnegative().optional(),
  onProgress: z.custom<LongTaskOptions['onProgress']>((value) => typeof value === 'function').optional(),
  signal: z.instanceof(AbortSignal).optional(),
});
type Settings = z.output<typeof optionsSchema>;

/**
 * @returns the manifest, which also lies in the folder
 * @throws TokenizerError `INVALID_OPTIONS`, `INVALID_CORPUS`, `RESUME_MISMATCH`, `ABORTED`, `FILE_WRITE_FAILED`
 */
export async function tokenizeCorpus(options: TokenizeCorpusOptions): Promise<ShardManifest> {
  requireLittleEndian();
  const parsed = optionsSchema.safeParse(options);
  if (!parsed.success || (parsed.data.parquetFiles === undefined) === (parsed.data.rows === undefined)) {
    const reason = parsed.success ? 'exactly one of parquetFiles and rows is needed' : z.prettifyError(parsed.error);
    throw new TokenizerError('INVALID_OPTIONS', `The options of tokenizeCorpus are not valid: ${reason}.`, {
      value: options,
    });
  }
  const settings = parsed.data;
  const endOfText = endOfTextToken(settings);
  const inputs: ParquetInput[] = [];
  for (const path of settings.parquetFiles ?? []) inputs.push(await planParquetFile(path, settings.columns));
  const planSha256 = fingerprint(settings, endOfText, inputs);
  await mkdir(settings.outputFolder, { recursive: true });

  if (existsSync(join(settings.outputFolder, manifestName))) return finished(settings, planSha256);
  const records = await openProgress(settings.outputFolder, planSha256);
  const assembler = new ShardAssembler(settings.outputFolder, settings.tokensPerShard, records);
  const rows = settings.rows && new RowBatches(settings.rows, assembler.resumeAt);
  const batches = rows?.batches() ?? parquetBatches(inputs, assembler.rowsDone);
  const total = rows === undefined ? inputs.reduce((sum, input) => sum + input.rows, 0) : undefined;
  const wide = settings.tokenizer.vocabularySize > 65_536;
  const workers = new CorpusWorkers(
    { model: createEncoderModel(settings.tokenizer.definition), endOfText, wide },
    settings.workers,
  );
  try {
    for await (const { task, result } of inOrder(batches, (batch) => workers.run(batch), workers.ahead)) {
      await assembler.add(task.firstRow, result, rows);
      settings.onProgress?.({
        task: 'tokenize',
        completed: assembler.rowsSeen,
        total,
        unit: 'rows',
        detail: `${assembler.tokens} tokens`,
      });
      throwIfAborted(settings.signal);
    }
    await assembler.finish(total ?? rows?.count ?? 0, rows);
  } catch (error) {
    await assembler.discard();
    throw error;
  } finally {
    await workers.close();
  }
  const manifest: ShardManifest = {
    formatVersion: 1,
    dtype: wide ? 'uint32' : 'uint16',
    tokenizerSha256: settings.tokenizer.sha256,
    vocabularySize: settings.tokenizer.vocabularySize,
    endOfTextToken: endOfText,
    ...assembler.summary(),
    planSha256,
    ...(rows === undefined ? {} : { rowsSha256: rows.sha256 }),
  };
  await writeFileAtomic(join(settings.outputFolder, manifestName), `${JSON.stringify(manifest, null, 2)}\n`);
  await closeProgress(settings.outputFolder);
  return manifest;
}

function endOfTextToken({ tokenizer, endOfText }: Settings): number {
  const names = endOfText === undefined ? ['<|endoftext|>', '<|end_of_text|>'] : [endOfText];
  for (const name of names) {
    const id = tokenizer.specialTokens.get(name);
    if (id !== undefined) return id;
  }
  throw new TokenizerError('INVALID_OPTIONS', `The tokenizer has no special token ${names.join(' or ')}.`, {
    value: endOfText,
    remedy: `Name one of ${[...tokenizer.specialTokens.keys()].join(' ')} as endOfText.`,
  });
}

/** Everything that the bytes depend on; paths do not matter, contents do. */
function fingerprint(settings: Settings, endOfText: number, inputs: readonly ParquetInput[]): string {
  const plan = {
    format: 1,
    tokenizer: settings.tokenizer.sha256,
    tokensPerShard: settings.tokensPerShard,
    endOfText,
    columns: settings.columns,
    input:
      settings.rows === undefined
        ? inputs.map(({ rows, size, footerSha256 }) => ({ rows, size, footerSha256 }))
        : 'rows',
  };
  return createHash('sha256').update(JSON.stringify(plan)).digest('hex');
}

/** What an earlier run has finished, if it was this one. */
async function finished(settings: Settings, planSha256: string): Promise<ShardManifest> {
  const { outputFolder, rows } = settings;
  const { manifest } = await readManifest(outputFolder);
  if (manifest.planSha256 !== planSha256) {
    throw new TokenizerError(
      'RESUME_MISMATCH',
      `${outputFolder} holds the shards of another tokenizer, input or setting.`,
      {
        value: outputFolder,
        remedy: 'Choose another outputFolder, or remove this one.',
      },
    );
  }
  if (rows !== undefined) {
    const same = new RowBatches(rows, {
      rows: manifest.documents + manifest.emptyRows,
      sha256: manifest.rowsSha256 ?? '',
    });
    for await (const batch of same.batches()) {
      throw new TokenizerError('RESUME_MISMATCH', `There are more rows than ${outputFolder} was made from.`, {
        value: batch.firstRow,
        remedy: 'Choose another outputFolder, or remove this one.',
      });
    }
  }
  for (const part of manifest.shards.flatMap((shard) => shardParts.map((name) => shard.files[name]))) {
    const path = join(outputFolder, part.name);
    const found = await stat(path).catch(() => undefined);
    if (found?.size !== part.size)
      throw corruptShards(path, `it should have ${part.size} bytes, not ${found?.size ?? 'be missing'}`);
  }
  await closeProgress(outputFolder);
  return manifest;
}

function* parquetBatches(inputs: readonly ParquetInput[], rowsDone: number): Generator<CorpusBatch> {
  let base = 0;
  for (const input of inputs) {
    for (const range of input.ranges) {
      if (base + range.rowEnd <= rowsDone) continue;
      const rowStart = Math.max(range.rowStart, rowsDone - base);
      yield { kind: 'parquet', firstRow: base + rowStart, range: { ...range, rowStart } };
    }
    base += input.rows;
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new TokenizerError('ABORTED', 'Tokenizing was stopped.', {
    cause: signal.reason,
    remedy: 'Run it again with the same arguments: it continues after the last finished shard.',
  });
}

/** Worker threads, or this thread when there are none. */
class CorpusWorkers {
  readonly ahead: number;
  private readonly pool: WorkerPool<CorpusBatch, TokenizedDocuments> | undefined;
  private readonly local: DocumentEncoder | undefined;

  constructor(data: CorpusWorkerData, workers: number | undefined) {
    const size = resolveWorkerCount(workers);
    this.ahead = Math.max(1, size * 2);
    if (size === 0) this.local = new DocumentEncoder(data.model, data.endOfText, data.wide);
    else this.pool = new WorkerPool('corpus-worker', size, data);
  }

  async run(batch: CorpusBatch): Promise<TokenizedDocuments> {
    if (this.pool !== undefined) return this.pool.run(batch);
    await new Promise((resolve) => setImmediate(resolve));
    return tokenizeBatch(this.local as DocumentEncoder, batch);
  }

  async close(): Promise<void> {
    await this.pool?.close();
  }
}
