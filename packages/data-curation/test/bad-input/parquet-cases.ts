/** Damaged Parquet files. */

import { type BadInputCase, numbered, type Place, remove } from './bad-input-case.js';
import { damage, parquet, parquetOf } from './files.js';

export const rows = (seed: number, count: number) =>
  Array.from({ length: count }, (_, index) => `Row ${index + 1} of the table with the number ${seed}.`);
/** Two row groups of DuckDB's smallest size, and a rest. */
const manyRows = 2 * 2048 + 4;
const tableNumber = 7;

/** A file of three row groups that was damaged, and a good one of 2 rows beside it. */
function parquetCase(
  name: string,
  change: (bytes: Buffer) => Uint8Array,
  bad: BadInputCase['bad'],
  keptRows: Place[] = [],
): BadInputCase {
  return {
    name,
    source: { type: 'parquet' },
    write: async (folder) => {
      await parquet(folder, 'a.parquet', rows(tableNumber, manyRows));
      await damage(folder, 'a.parquet', change);
      await parquet(folder, 'b.parquet', rows(tableNumber + 1, 2));
    },
    bad,
    kept: [...keptRows, ...numbered('b.parquet', 1, 2)],
    repair: (folder) => parquet(folder, 'a.parquet', rows(tableNumber, manyRows)),
  };
}

/** Where the text of a row in the second row group is. */
const insideSecondGroup = (bytes: Buffer) => bytes.indexOf(rows(tableNumber, 3000)[2999]);

export const parquetFiles: BadInputCase[] = [
  parquetCase('parquet-cut', (bytes) => bytes.subarray(0, bytes.length / 2), {
    'a.parquet': /^not readable as Parquet \(/,
  }),
  parquetCase('parquet-magic', (bytes) => Buffer.from([...bytes.subarray(0, -4), ...Buffer.from('PAR2')]), {
    'a.parquet': /^not readable as Parquet \(/,
  }),
  parquetCase(
    'parquet-footer',
    (bytes) => {
      const length = bytes.readUInt32LE(bytes.length - 8);
      return Buffer.from(bytes).fill(0xff, bytes.length - 8 - length, bytes.length - 8);
    },
    { 'a.parquet': /^not readable as Parquet \(/ },
  ),
  parquetCase(
    'parquet-footer-length',
    (bytes) => {
      const changed = Buffer.from(bytes);
      changed.writeUInt32LE(0x7fffffff, bytes.length - 8);
      return changed;
    },
    { 'a.parquet': /^not readable as Parquet \(/ },
  ),
  parquetCase('parquet-empty', () => Buffer.alloc(0), { 'a.parquet': /^not readable as Parquet \(/ }),
  parquetCase('parquet-text', () => Buffer.from('no parquet at all'), { 'a.parquet': /^not readable as Parquet \(/ }),
  parquetCase(
    'parquet-rows',
    (bytes) => {
      const changed = Buffer.from(bytes);
      const at = insideSecondGroup(bytes);
      // Texts and their lengths.
      return changed.fill(0xaa, at, at + 2000);
    },
    { 'a.parquet#2049-4096': /^damaged \(/ },
    [...numbered('a.parquet', 1, 2048), ...numbered('a.parquet', 4097, manyRows)],
  ),
  parquetCase(
    'parquet-utf-8',
    (bytes) => {
      const changed = Buffer.from(bytes);
      changed[insideSecondGroup(bytes)] = 0xff;
      return changed;
    },
    { 'a.parquet#2049-4096': /^damaged \(.*UTF-?8/ },
    [...numbered('a.parquet', 1, 2048), ...numbered('a.parquet', 4097, manyRows)],
  ),
  {
    name: 'parquet-columns',
    source: { type: 'parquet' },
    write: async (folder) => {
      await parquetOf(folder, 'a.parquet', 'SELECT 5 AS text');
      await parquetOf(folder, 'b.parquet', `SELECT 'x' AS body`);
      await parquetOf(
        folder,
        'c.parquet',
        `SELECT unnest(['${'good text '.repeat(20)}', NULL, '${'more text '.repeat(20)}']) AS text`,
      );
    },
    bad: {
      'a.parquet': 'column "text" is INTEGER',
      'b.parquet': 'column "text" is missing',
      'c.parquet#2': 'column "text" is null',
    },
    kept: ['c.parquet#1', 'c.parquet#3'],
    repair: async (folder) => {
      await remove('a.parquet', 'b.parquet')(folder);
      await parquetOf(folder, 'c.parquet', `SELECT '${'good text '.repeat(20)}' AS text`);
    },
  },
];
