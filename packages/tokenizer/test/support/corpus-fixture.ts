/** A corpus of about 300 documents and a tokenizer for it, as rows and as Parquet files, in a folder of their own. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { Tokenizer, trainBytePairEncoding, writeTokenizerFolder, type CorpusRow } from '../../src/index.js';
import { randomNumbers, realTexts } from './texts.js';

export interface CorpusFixture {
  /** For this test file's own files. */
  root: string;
  random: () => number;
  /** Three domains; every seventeenth row has no text. */
  rows: Required<CorpusRow>[];
  /** The rows with text. */
  documents: Required<CorpusRow>[];
  tokenizer: Tokenizer;
  /** Where the tokenizer lies. */
  tokenizerFolder: string;
  /** The rows in two files of several row groups. */
  parquetFiles: string[];
  close: () => Promise<void>;
}

export async function createCorpusFixture(): Promise<CorpusFixture> {
  const random = randomNumbers(1);
  const rows = realTexts()
    .flatMap((text) => text.match(/[^]{1,6000}/g) ?? [])
    .map((text, i) => ({
      text: i % 17 === 3 ? '' : text,
      domain: ['code', 'docs', 'mathé'][Math.floor(random() * 3)],
      quality: Math.fround(random()),
      weight: Math.fround(1 + Math.floor(random() * 4)),
    }));
  const root = await mkdtemp(join(tmpdir(), 'shards-'));
  const definition = await trainBytePairEncoding(realTexts(), { vocabularySize: 1500, workers: 0 });
  const tokenizerFolder = join(root, 'tokenizer');
  await writeTokenizerFolder(tokenizerFolder, definition);
  const parquetFiles = [join(root, 'a.parquet'), join(root, 'b.parquet')];
  await writeFile(parquetFiles[0], parquetOf(rows.slice(0, 170)));
  await writeFile(parquetFiles[1], parquetOf(rows.slice(170)));
  return {
    root,
    random,
    rows,
    documents: rows.filter(({ text }) => text !== ''),
    tokenizer: await Tokenizer.load(tokenizerFolder),
    tokenizerFolder,
    parquetFiles,
    close: () => rm(root, { recursive: true }),
  };
}

function parquetOf(rows: readonly CorpusRow[]): Buffer {
  const column = (name: keyof CorpusRow, type: 'STRING' | 'DOUBLE') => ({
    name,
    type,
    data: rows.map((row) => row[name] ?? null),
    nullable: true,
  });
  const columnData = [
    column('text', 'STRING'),
    column('domain', 'STRING'),
    column('quality', 'DOUBLE'),
    column('weight', 'DOUBLE'),
  ];
  return Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 20 }));
}

/** SHA-256 of each file of a folder. */
export async function hashFolder(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  const hashes = await Promise.all(
    names.map(async (name) =>
      createHash('sha256')
        .update(await readFile(join(folder, name)))
        .digest('hex'),
    ),
  );
  return Object.fromEntries(names.map((name, i) => [name, hashes[i]]));
}
