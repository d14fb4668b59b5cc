/**
 * Documents of a file or folder outside a curation, for the classifiers: JSON Lines, Parquet and web archives by their names, anything else
 * as one text a file. Order: by name. Memory: one document and the list of files.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CurationError } from '../errors.js';
import { folderSourceSchema, jsonlSourceSchema, parquetSourceSchema, warcSourceSchema } from '../plan/source-schema.js';
import { readJsonl } from './jsonl.js';
import { readParquet } from './parquet.js';
import type { InputFile, RawDocument, SourceObserver } from './raw-document.js';
import { listFiles } from './walk.js';
import { loadDuckDB } from '../util/load-duckdb.js';

export interface ReadDocumentsOptions {
  /** Field or column that holds the text, in JSON Lines and Parquet; default `text`. */
  textField?: string;
  /** Hears of input that cannot be read; default: it is passed over. */
  onBadInput?: (location: string, reason: string) => void;
  signal?: AbortSignal;
}

export interface ReadDocument {
  /** `<file>` or `<file>#<line>`, relative to the path given. */
  id: string;
  text: string;
}

/** @throws CurationError `INPUT_NOT_FOUND` when the path cannot be read, `ABORTED`. */
export async function* readDocuments(path: string, options: ReadDocumentsOptions = {}): AsyncGenerator<ReadDocument> {
  const { root, files } = await listFiles(resolve(path), { include: ['**/*'], exclude: ['**/.git/**'] });
  for (const file of files) {
    for await (const { id, text } of open(root, file, options)) {
      if (options.signal?.aborted === true) {
        throw new CurationError('ABORTED', 'Reading was interrupted.', { cause: options.signal.reason });
      }
      if (text !== undefined && text.trim() !== '') yield { id: id.slice(id.indexOf(':') + 1), text };
    }
  }
}

async function* open(root: string, file: InputFile, options: ReadDocumentsOptions): AsyncGenerator<RawDocument> {
  const tell = options.onBadInput ?? (() => undefined);
  const observer: SourceObserver = {
    onFile: () => undefined,
    onBadInput: (location, reason) => tell(location.slice(location.indexOf(':') + 1), reason),
    onSkipped: (id, _path, reason) => tell(id.slice(id.indexOf(':') + 1), reason),
  };
  const common = { name: 'input', path: join(root, file.path) };
  const textField = options.textField ?? 'text';
  if (/\.(?:jsonl|ndjson)(?:\.gz|\.zstd?)?$|\.json\.gz$/.test(file.path)) {
    yield* readJsonl(jsonlSourceSchema.parse({ type: 'jsonl', ...common, textField }), root, [file], 0, observer);
  } else if (/\.(?:warc|wet)(?:\.gz|\.zstd?)?$/.test(file.path)) {
    const { readWarc } = await import('./warc.js');
    yield* readWarc(warcSourceSchema.parse({ type: 'warc', ...common }), root, [file], 0, observer);
  } else if (file.path.endsWith('.parquet')) {
    const { DuckDBInstance } = await loadDuckDB();
    const instance = await DuckDBInstance.create(':memory:', { threads: '1', memory_limit: '448MiB' });
    const connection = await instance.connect();
    const scratch = await mkdtemp(join(tmpdir(), 'documents-'));
    try {
      const source = parquetSourceSchema.parse({ type: 'parquet', ...common, textField });
      yield* readParquet(source, root, [file], 0, connection, { scratch, run: (_, read) => read() }, observer);
    } finally {
      connection.closeSync();
      instance.closeSync();
      await rm(scratch, { recursive: true, force: true });
    }
  } else {
    const { readFolder } = await import('./folder.js');
    const source = folderSourceSchema.parse({ type: 'folder', ...common, path: root, license: 'unknown' });
    yield* readFolder(source, root, [file], observer);
  }
}
