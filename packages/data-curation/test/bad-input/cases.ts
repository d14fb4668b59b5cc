/**
 * Every kind of bad input, with what a curation has to say of it. Each case is a source with good neighbours around the bad input; one
 * test runs all of them with `onBadInput: 'skip'`, one with `'fail'`.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { CurationPlanInput } from '../../src/plan/schema.js';
import { prose } from '../corpus.js';
import { damage, goodLines, html, jsonl, lyingPage, page, parquet, parquetOf, put, zstd } from './files.js';

type SourceInput = CurationPlanInput['sources'][number];
/** What stands after `<source>:` in an id or a location: a file, or a file and `#` with a line, row or record. */
type Place = string;

export interface BadInputCase {
  /** The source's name. */
  name: string;
  source: Pick<SourceInput, 'type'> & Partial<SourceInput>;
  write: (folder: string) => Promise<void>;
  /** Done to the input after its inventory was taken and before it is read. */
  meanwhile?: (folder: string) => void;
  /** Bad input: place → reason. */
  bad: Record<Place, string | RegExp>;
  /** Dropped and counted, with either setting: `<filter>: <reason>` → documents. */
  drops?: Record<string, number>;
  /** Every document that is kept. */
  kept: Place[];
  /** Takes the bad input away. */
  repair: (folder: string) => Promise<void>;
}

const numbered = (file: string, from: number, to: number, without: readonly number[] = []): Place[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)
    .filter((number) => !without.includes(number))
    .map((number) => `${file}#${number}`);

const remove =
  (...names: string[]) =>
  async (folder: string) => {
    for (const name of names) await rm(join(folder, name), { recursive: true, force: true });
  };

/** One bad line between two good ones in a JSON Lines file. */
function lineCase(
  name: string,
  line: string | Uint8Array,
  reason: string | RegExp,
  options: object = {},
): BadInputCase {
  const [first, last] = goodLines(name.length, 2);
  const bytes = typeof line === 'string' ? Buffer.from(line) : line;
  return {
    name,
    source: { type: 'jsonl', ...options },
    write: (folder) =>
      put(folder, 'a.jsonl', Buffer.concat([Buffer.from(`${first}\n`), bytes, Buffer.from(`\n${last}\n`)])),
    bad: { 'a.jsonl#2': reason },
    kept: ['a.jsonl#1', 'a.jsonl#3'],
    repair: (folder) => put(folder, 'a.jsonl', jsonl([first, last])),
  };
}

const lines: BadInputCase[] = [
  lineCase('not-json', '{"text": "cut off', 'not JSON'),
  lineCase('json-array', '["text"]', 'not a JSON object'),
  lineCase('json-string', '"text"', 'not a JSON object'),
  lineCase('json-null', 'null', 'not a JSON object'),
  lineCase('field-missing', '{"body": "text"}', 'field "text" is missing'),
  lineCase('field-inherited', '{"__proto__": {"text": "text"}}', 'field "text" is missing'),
  lineCase('field-number', '{"text": 7}', 'field "text" is not a string'),
  lineCase('field-null', '{"text": null}', 'field "text" is not a string'),
  lineCase('field-object', '{"text": {"text": "text"}}', 'field "text" is not a string'),
  lineCase('json-deep', `${'['.repeat(60_000)}`, 'not JSON'),
  lineCase('json-deep-whole', `${'['.repeat(60_000)}${']'.repeat(60_000)}`, /^not (?:JSON|a JSON object)$/),
  lineCase(
    'utf-8',
    Buffer.from([...Buffer.from('{"text": "'), 0xff, 0xc3, 0x28, ...Buffer.from('"}')]),
    'invalid UTF-8',
  ),
  lineCase('long-line', `{"text": "${'x'.repeat(1_000_000)}"}`, 'line longer than 100000 bytes', {
    maximumLineBytes: 100_000,
  }),
];

const compressed: BadInputCase[] = [
  {
    name: 'gzip-cut',
    source: { type: 'jsonl' },
    write: async (folder) => {
      // A member for each line: what is before the cut is known.
      const members = goodLines(1, 6).map((line) => gzipSync(`${line}\n`));
      const whole = Buffer.concat(members);
      await put(folder, 'a.jsonl.gz', whole.subarray(0, whole.length - members[5].length - members[4].length / 2));
      await put(folder, 'b.jsonl', jsonl(goodLines(2, 2)));
    },
    bad: { 'a.jsonl.gz#5': /^damaged or truncated gzip \(unexpected end of file\)$/ },
    kept: [...numbered('a.jsonl.gz', 1, 4), ...numbered('b.jsonl', 1, 2)],
    repair: (folder) => put(folder, 'a.jsonl.gz', gzipSync(jsonl(goodLines(1, 6)))),
  },
  {
    name: 'gzip-none',
    source: { type: 'jsonl' },
    write: async (folder) => {
      await put(folder, 'a.jsonl.gz', jsonl(goodLines(3, 2)));
      await put(folder, 'b.jsonl', jsonl(goodLines(4, 2)));
    },
    bad: { 'a.jsonl.gz#1': 'damaged or truncated gzip (incorrect header check)' },
    kept: numbered('b.jsonl', 1, 2),
    repair: (folder) => put(folder, 'a.jsonl.gz', gzipSync(jsonl(goodLines(3, 2)))),
  },
  {
    name: 'gzip-bomb',
    source: { type: 'jsonl', maximumLineBytes: 100_000 },
    write: async (folder) => {
      const zeros = gzipSync(Buffer.alloc(16 * 1024 * 1024, 'x'));
      const parts = [gzipSync(`${goodLines(5, 1)[0]}\n{"text": "`), zeros, zeros];
      await put(folder, 'a.jsonl.gz', Buffer.concat([...parts, gzipSync(`"}\n${jsonl(goodLines(6, 1))}`)]));
    },
    bad: { 'a.jsonl.gz#2': 'line longer than 100000 bytes' },
    kept: ['a.jsonl.gz#1', 'a.jsonl.gz#3'],
    repair: (folder) => put(folder, 'a.jsonl.gz', gzipSync(jsonl([...goodLines(5, 1), ...goodLines(6, 1)]))),
  },
  {
    name: 'zstd-cut',
    source: { type: 'jsonl' },
    write: async (folder) => {
      await zstd(folder, 'a.jsonl.zst', goodLines(7, 3));
      await damage(folder, 'a.jsonl.zst', (bytes) => bytes.subarray(0, bytes.length - 40));
      await put(folder, 'b.jsonl', jsonl(goodLines(8, 2)));
    },
    // One block holds all of it.
    bad: { 'a.jsonl.zst#1': /^damaged or truncated zstd/ },
    kept: numbered('b.jsonl', 1, 2),
    repair: (folder) => zstd(folder, 'a.jsonl.zst', goodLines(7, 3)),
  },
  {
    name: 'zstd-window',
    source: { type: 'jsonl' },
    write: async (folder) => {
      // A frame that asks for a gigabyte, after a good one and one to be skipped.
      await zstd(folder, 'a.jsonl.zst', goodLines(11, 3));
      const skipped = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2]);
      const greedy = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 0x09, 0, 0, 0x7b]);
      await damage(folder, 'a.jsonl.zst', (bytes) => Buffer.concat([bytes, skipped, greedy]));
    },
    bad: { 'a.jsonl.zst#4': 'damaged or truncated zstd (a window of 1073741824 bytes)' },
    kept: numbered('a.jsonl.zst', 1, 3),
    repair: (folder) => zstd(folder, 'a.jsonl.zst', goodLines(11, 3)),
  },
  {
    name: 'zstd-none',
    source: { type: 'jsonl' },
    write: async (folder) => {
      await put(folder, 'a.jsonl.zst', jsonl(goodLines(9, 2)));
      await put(folder, 'b.jsonl', jsonl(goodLines(10, 2)));
    },
    bad: { 'a.jsonl.zst#1': /^damaged or truncated zstd/ },
    kept: numbered('b.jsonl', 1, 2),
    repair: remove('a.jsonl.zst'),
  },
];

const rows = (seed: number, count: number) =>
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

const parquetFiles: BadInputCase[] = [
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

/** A record that is bad as the second of three in an archive. */
function recordCase(
  name: string,
  record: () => Promise<Buffer>,
  reason: string | RegExp,
  expected: Partial<Pick<BadInputCase, 'drops' | 'kept' | 'bad'>> & { options?: object } = {},
): BadInputCase {
  const seed = 5000 + 10 * name.length;
  const archive = async (middle: Buffer) =>
    Buffer.concat([await page(html(seed)), middle, await page(html(seed + 1)), await page(html(seed + 2))]);
  return {
    name,
    source: { type: 'warc', maximumRecordBytes: 200_000, ...expected.options },
    write: async (folder) => put(folder, 'a.warc', await archive(await record())),
    bad: expected.bad ?? { 'a.warc#2': reason },
    drops: expected.drops,
    kept: expected.kept ?? numbered('a.warc', 1, 4, [2]),
    repair: async (folder) => put(folder, 'a.warc', await archive(await page(html(seed + 3)))),
  };
}

const wrongLength = /^(?:the length of the record is wrong|the file ends inside the record)$/;
const garbage = /^(?:the length of the record is wrong|not the beginning of a WARC record)$/;

const archives: BadInputCase[] = [
  recordCase('warc-long', () => lyingPage(1, (length) => length + 40), wrongLength),
  recordCase('warc-longer', () => lyingPage(2, (length) => length + 3000), wrongLength),
  recordCase('warc-beyond', () => lyingPage(3, (length) => length + 150_000), wrongLength),
  recordCase('warc-gigabyte', () => lyingPage(4, () => 1_000_000_000), wrongLength),
  recordCase('warc-short', () => lyingPage(5, (length) => length - 40), garbage),
  recordCase('warc-zero', () => lyingPage(6, () => 0), garbage),
  recordCase('warc-number', () => lyingPage(7, () => 'many'), 'no valid Content-Length'),
  recordCase('warc-negative', () => lyingPage(8, (length) => -length), 'no valid Content-Length'),
  recordCase('warc-huge-number', () => lyingPage(9, () => '9'.repeat(400)), 'no valid Content-Length'),
  recordCase(
    'warc-garbage',
    () => Promise.resolve(Buffer.from(`${'garbage\n'.repeat(50)}\n`)),
    'not the beginning of a WARC record',
  ),
  recordCase(
    'warc-header',
    () => Promise.resolve(Buffer.from(`WARC/1.0\r\n${'WARC-Type: response\r\n'.repeat(10)}`)),
    'the record header does not end',
  ),
  recordCase('warc-large', () => page(' '.repeat(300_000)), '', { bad: {}, drops: { 'size: record too large': 1 } }),
  recordCase(
    'warc-gzip-bomb',
    () => page(gzipSync(Buffer.alloc(20_000_000, 32)), { 'Content-Encoding': 'gzip' }),
    'the record expands beyond the limit',
  ),
  {
    name: 'warc-cut',
    source: { type: 'warc' },
    write: async (folder) => {
      const last = await page(html(61));
      await put(folder, 'a.warc', Buffer.concat([await page(html(60)), last.subarray(0, last.length - 300)]));
      const packed = gzipSync(last);
      await put(
        folder,
        'b.warc.gz',
        Buffer.concat([gzipSync(await page(html(62))), packed.subarray(0, packed.length - 30)]),
      );
    },
    bad: {
      'a.warc#2': 'the file ends inside the record',
      'b.warc.gz#2': /^damaged or truncated gzip/,
    },
    kept: ['a.warc#1', 'b.warc.gz#1'],
    repair: async (folder) => {
      await put(folder, 'a.warc', await page(html(60)));
      await put(folder, 'b.warc.gz', gzipSync(await page(html(62))));
    },
  },
];

/** HTML made to hurt, which a page of a web archive and a file of a folder may hold. */
const bombs: [name: string, html: string, reason: string | undefined][] = [
  ['nested', '<div>'.repeat(30_000), 'HTML nested deeper than 512 elements'],
  ['attribute', html(71, `<p class="${'x'.repeat(400_000)}" title='${'&amp;'.repeat(20_000)}'>a</p>`), undefined],
  ['attributes', html(72, `<p${Array.from({ length: 40_000 }, (_, index) => ` a${index}`).join('')}>a</p>`), undefined],
  ['entities', html(73, `<p>${'&lt;'.repeat(100_000)}</p>`), undefined],
  [
    'entity-range',
    html(74, '<p>&#1114112;&#xFFFFFFFF;&#55296;&#0;&#99999999999999999999;&#x;&#;&undefined;</p>'.repeat(2_000)),
    undefined,
  ],
  ['comment', `${html(75)}<!-- ${'a'.repeat(200_000)}`, undefined],
  ['script', `${html(76)}<script>${'</scrip'.repeat(40_000)}`, undefined],
  ['blocks', '<p>a</p>'.repeat(200_001), 'HTML with more than 200000 blocks'],
];

const pages: BadInputCase[] = [
  {
    name: 'html-files',
    source: { type: 'folder', maximumFileBytes: 4 * 1024 * 1024, license: 'unknown' },
    write: async (folder) => {
      for (const [name, content] of bombs) await put(folder, `${name}.html`, content);
      await put(folder, 'good.html', html(70));
    },
    bad: Object.fromEntries(
      bombs.flatMap(([name, , reason]) => (reason === undefined ? [] : [[`${name}.html`, reason]])),
    ),
    kept: ['good.html', ...bombs.flatMap(([name, , reason]) => (reason === undefined ? [`${name}.html`] : []))],
    repair: remove('nested.html', 'blocks.html'),
  },
  {
    name: 'html-pages',
    source: { type: 'warc', maximumRecordBytes: 4 * 1024 * 1024 },
    write: async (folder) => {
      const records = await Promise.all(bombs.map(([, content]) => page(content)));
      await put(folder, 'a.warc', Buffer.concat([...records, await page(html(70))]));
    },
    bad: Object.fromEntries(
      bombs.flatMap(([, , reason], index) => (reason === undefined ? [] : [[`a.warc#${index + 1}`, reason]])),
    ),
    kept: [
      ...bombs.flatMap(([, , reason], index) => (reason === undefined ? [`a.warc#${index + 1}`] : [])),
      `a.warc#${bombs.length + 1}`,
    ],
    repair: async (folder) => put(folder, 'a.warc', await page(html(70))),
  },
];

const files: BadInputCase[] = [
  {
    name: 'empty-documents',
    source: { type: 'jsonl' },
    write: async (folder) => {
      await put(
        folder,
        'a.jsonl',
        `${'{"text": ""}\n'.repeat(3000)}${'{"text": " \\n\\t "}\n'.repeat(2000)}${jsonl(goodLines(20, 1))}`,
      );
      await put(folder, 'b.jsonl', '');
      await put(folder, 'c.jsonl', '\n\r\n\n');
    },
    bad: {},
    drops: { 'decode: empty': 5000 },
    kept: ['a.jsonl#5001'],
    repair: () => Promise.resolve(),
  },
  {
    name: 'one-character',
    source: { type: 'jsonl' },
    write: (folder) =>
      put(
        folder,
        'a.jsonl',
        jsonl([
          ...['a'.repeat(900_000), ' a'.repeat(400_000), 'a\n'.repeat(400_000)].map((text) => JSON.stringify({ text })),
          ...goodLines(21, 1),
        ]),
      ),
    bad: {},
    drops: { 'gopherQuality: words too long': 1, 'gopherQuality: words too short': 2 },
    kept: ['a.jsonl#4'],
    repair: () => Promise.resolve(),
  },
  {
    name: 'text-files',
    source: { type: 'folder', maximumFileBytes: 100_000, license: 'unknown' },
    write: async (folder) => {
      await put(folder, 'good.md', prose(30, 5));
      await put(folder, 'empty.md', '');
      await put(folder, 'line.txt', 'x'.repeat(2_000_000));
      await put(
        folder,
        'binary.md',
        Uint8Array.from({ length: 1000 }, (_, index) => index % 256),
      );
      await put(folder, 'latin.md', Buffer.from(`Café. ${prose(31, 5)}`, 'latin1'));
      await put(folder, 'broken.md', Buffer.concat([Buffer.from(`Grüße. ${prose(32, 5)}`), Buffer.from([0xc3, 0x28])]));
      await mkdir(join(folder, 'folder.md'), { recursive: true });
      await put(folder, 'folder.md/inside.md', prose(33, 5));
      // Neither is followed: they lead out of the folder, or nowhere.
      await symlink('/etc/hostname', join(folder, 'outside.md'));
      await symlink('/etc', join(folder, 'outside'));
      await symlink('nowhere', join(folder, 'dangling.md'));
    },
    bad: {},
    drops: { 'decode: empty': 1, 'decode: binary data': 1, 'size: file too large': 1 },
    kept: ['good.md', 'latin.md', 'broken.md', 'folder.md/inside.md'],
    repair: () => Promise.resolve(),
  },
  {
    name: 'names',
    source: { type: 'folder', license: 'unknown' },
    write: async (folder) => {
      for (const [index, name] of [
        'a[1].md',
        '*.md',
        '..a.md',
        '-rf.md',
        "it's.md",
        'new\nline.md',
        'back\\slash.md',
        'a#2.md',
      ].entries()) {
        await put(folder, name, prose(40 + index, 5));
      }
      // No valid UTF-8: Node cannot say this name back to the system.
      await writeFile(
        Buffer.concat([Buffer.from(`${folder}/bad`), Buffer.from([0xff]), Buffer.from('.md')]),
        prose(50, 5),
      );
    },
    bad: { 'bad\ufffd.md': 'cannot be read (ENOENT)' },
    kept: ['a[1].md', '*.md', '..a.md', '-rf.md', "it's.md", 'new\nline.md', 'back\\slash.md', 'a#2.md'],
    repair: (folder) => rm(Buffer.concat([Buffer.from(`${folder}/bad`), Buffer.from([0xff]), Buffer.from('.md')])),
  },
  {
    name: 'parquet-names',
    source: { type: 'parquet' },
    write: async (folder) => {
      await parquet(folder, 'a[1].parquet', rows(300, 1));
      await parquet(folder, 'a1.parquet', rows(301, 1));
      await parquet(folder, 'b*.parquet', rows(302, 1));
      await parquet(folder, 'b2.parquet', rows(303, 1));
    },
    bad: {},
    kept: ['a1.parquet#1', 'a[1].parquet#1', 'b*.parquet#1', 'b2.parquet#1'],
    repair: () => Promise.resolve(),
  },
];

/** One file of each format goes away, one becomes a folder, between the inventory and the reading. */
function vanishing(
  name: string,
  source: BadInputCase['source'],
  end: string,
  write: (folder: string, name: string) => Promise<void>,
  kept: Place[],
): BadInputCase {
  const [gone, folderNow, good] = ['a', 'b', 'c'].map((letter) => `${letter}.${end}`);
  return {
    name,
    source,
    write: async (folder) => {
      for (const file of [gone, folderNow, good]) await write(folder, file);
    },
    meanwhile: (folder) => {
      for (const file of [gone, folderNow]) rmSync(join(folder, file));
      mkdirSync(join(folder, folderNow));
    },
    bad: { [gone]: 'cannot be read (ENOENT)', [folderNow]: 'cannot be read (EISDIR)' },
    kept,
    repair: async (folder) => {
      await remove(folderNow)(folder);
      for (const file of [gone, folderNow]) await write(folder, file);
    },
  };
}

const vanished: BadInputCase[] = [
  vanishing(
    'vanish-text',
    { type: 'folder', license: 'unknown' },
    'md',
    (folder, name) => put(folder, name, prose(80, 5)),
    ['c.md'],
  ),
  vanishing('vanish-jsonl', { type: 'jsonl' }, 'jsonl', (folder, name) => put(folder, name, jsonl(goodLines(81, 1))), [
    'c.jsonl#1',
  ]),
  vanishing('vanish-warc', { type: 'warc' }, 'warc', async (folder, name) => put(folder, name, await page(html(82))), [
    'c.warc#1',
  ]),
  vanishing('vanish-parquet', { type: 'parquet' }, 'parquet', (folder, name) => parquet(folder, name, rows(83, 1)), [
    'c.parquet#1',
  ]),
];

export const badInputCases: readonly BadInputCase[] = [
  ...lines,
  ...compressed,
  ...parquetFiles,
  ...archives,
  ...pages,
  ...files,
  ...vanished,
];
