/** Damaged web archives, and pages made to hurt. */

import { gzipSync } from 'node:zlib';
import { type BadInputCase, numbered, remove } from './bad-input-case.js';
import { html, lyingPage, page, put } from './files.js';

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

export const archives: BadInputCase[] = [
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

export const pages: BadInputCase[] = [
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
