/** Text rows from Parquet files: a plan of row ranges small enough to hold in memory, and the reading of one range. */
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { parquetMetadataAsync, parquetScan, parquetSchema, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { TokenizerError } from '../errors.js';
import type { TextRows } from './tokenized-documents.js';

/** Names of the columns; a name that is null stands for a column that the files do not have. */
export interface CorpusColumns {
  text: string;
  domain: string | null;
  quality: string | null;
  weight: string | null;
}

export interface ParquetRange {
  path: string;
  rowStart: number;
  rowEnd: number;
  columns: CorpusColumns;
}

export interface ParquetInput {
  rows: number;
  size: number;
  /** SHA-256 of the file's footer: schema, row groups and where they lie. */
  footerSha256: string;
  ranges: ParquetRange[];
}

const rangeBytes = 4 << 20;

export const defaultDomain = 'text';

function invalid(path: string, reason: string, cause?: unknown): TokenizerError {
  return new TokenizerError('INVALID_CORPUS', `The Parquet file ${path} cannot be read: ${reason}.`, {
    value: path,
    cause,
    remedy: 'Write or copy it again, or leave it out.',
  });
}

/** Hands `use` the file as hyparquet reads it; errors name the file. */
async function withFile<T>(path: string, use: (file: AsyncBuffer, handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const opened = handle;
    const { size } = await handle.stat();
    const slice = async (start: number, end = size) => {
      const buffer = new Uint8Array(end - start);
      const { bytesRead } = await opened.read(buffer, 0, buffer.length, start);
      if (bytesRead < buffer.length) throw new Error(`it ends before byte ${end}`);
      return buffer.buffer;
    };
    return await use({ byteLength: size, slice }, handle);
  } catch (error) {
    if (TokenizerError.isInstance(error)) throw error;
    throw invalid(path, (error as Error).message.replace(/\.$/, ''), error);
  } finally {
    await handle?.close();
  }
}

/** Reads a file's footer, checks its columns and cuts its rows into ranges of about 4 MiB of text. */
export async function planParquetFile(path: string, wanted: Partial<CorpusColumns>): Promise<ParquetInput> {
  return withFile(path, async (file) => {
    const metadata = await parquetMetadataAsync(file);
    const names = new Set(parquetSchema(metadata).children.map((child) => child.element.name));
    const column = (key: 'domain' | 'quality' | 'weight') => {
      const name = wanted[key];
      if (name === undefined) return names.has(key) ? key : null;
      if (name !== null && !names.has(name)) throw missingColumn(path, name, names);
      return name;
    };
    const text = wanted.text ?? 'text';
    if (!names.has(text)) throw missingColumn(path, text, names);
    const columns = { text, domain: column('domain'), quality: column('quality'), weight: column('weight') };
    const footer = new Uint8Array(await file.slice(file.byteLength - 8 - metadata.metadata_length, file.byteLength));
    return {
      rows: Number(metadata.num_rows),
      size: file.byteLength,
      footerSha256: createHash('sha256').update(footer).digest('hex'),
      ranges: cutRanges(path, metadata, columns),
    };
  });
}

function missingColumn(path: string, name: string, names: ReadonlySet<string>): TokenizerError {
  return new TokenizerError('INVALID_CORPUS', `${path} has no column ${JSON.stringify(name)}.`, {
    value: name,
    remedy: `Its columns are ${[...names].join(', ')}; name the right one in columns.`,
  });
}

function cutRanges(path: string, metadata: FileMetaData, columns: CorpusColumns): ParquetRange[] {
  const ranges: ParquetRange[] = [];
  let groupStart = 0;
  for (const group of metadata.row_groups) {
    const rows = Number(group.num_rows);
    const chunk = group.columns.find(({ meta_data }) => meta_data?.path_in_schema[0] === columns.text);
    const bytes = Number(chunk?.meta_data?.total_uncompressed_size ?? group.total_byte_size);
    const parts = Math.max(1, Math.min(rows, Math.ceil(bytes / rangeBytes)));
    for (let part = 0; part < parts; part++) {
      const rowStart = groupStart + Math.floor((rows * part) / parts);
      const rowEnd = groupStart + Math.floor((rows * (part + 1)) / parts);
      if (rowEnd > rowStart) ranges.push({ path, rowStart, rowEnd, columns });
    }
    groupStart += rows;
  }
  return ranges;
}

// zlib is faster than JavaScript; a page that it gives too short is caught by the decoder.
const fastCompressors = {
  ...compressors,
  GZIP: (input: Uint8Array) => gunzipSync(input),
  BROTLI: (input: Uint8Array) => brotliDecompressSync(input),
};

/** Reads a range; texts are bytes, not yet checked to be UTF-8. */
export async function readParquetRange({ path, rowStart, rowEnd, columns }: ParquetRange): Promise<TextRows> {
  return withFile(path, async (file) => {
    const { text, domain, quality, weight } = columns;
    const names = [...new Set([text, domain, quality, weight].filter((name) => name !== null))];
    const scan = await parquetScan({
      file,
      columns: names,
      rowStart,
      rowEnd,
      compressors: fastCompressors,
      parsers: { stringFromBytes: (bytes) => bytes },
    });
    const read = async (column: string | null) =>
      column === null
        ? undefined
        : Array.from((await scan.readColumn({ column, rowStart, rowEnd })) as ArrayLike<unknown>);
    const texts = (await read(text)) as unknown[];
    if (texts.length !== rowEnd - rowStart) throw new Error(`rows ${rowStart} to ${rowEnd} are not all there`);
    const domains = await read(domain);
    const utf8 = new TextDecoder();
    return {
      texts: texts.map((value, row) => {
        if (value === null || value === undefined) return new Uint8Array();
        if (value instanceof Uint8Array) return value;
        throw wrongType(path, rowStart + row, text, value, 'text');
      }),
      domain: (row) => {
        const value = domains?.[row];
        if (value === null || value === undefined) return defaultDomain;
        if (value instanceof Uint8Array) return utf8.decode(value);
        throw wrongType(path, rowStart + row, domain as string, value, 'text');
      },
      quality: numbers(path, rowStart, quality, await read(quality)),
      weight: numbers(path, rowStart, weight, await read(weight)),
    };
  });
}

function numbers(path: string, rowStart: number, column: string | null, values: unknown[] | undefined) {
  return (row: number): number => {
    const value = values?.[row];
    if (value === null || value === undefined) return 1;
    const number = typeof value === 'bigint' ? Number(value) : value;
    if (typeof number === 'number' && Number.isFinite(number)) return number;
    throw wrongType(path, rowStart + row, column as string, value, 'a finite number');
  };
}

function wrongType(path: string, row: number, column: string, value: unknown, wanted: string): TokenizerError {
  return new TokenizerError(
    'INVALID_CORPUS',
    `Row ${row} of ${path} has ${String(value)} in ${column}, not ${wanted}.`,
    {
      value,
      remedy: 'Fix that row, or name another column.',
    },
  );
}
