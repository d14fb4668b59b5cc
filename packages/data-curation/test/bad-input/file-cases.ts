/** Files that are not what they should be, and files that vanish. */

import { mkdirSync, rmSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { prose } from '../corpus.js';
import { type BadInputCase, type Place, remove } from './bad-input-case.js';
import { goodLines, html, jsonl, page, parquet, put } from './files.js';
import { rows } from './parquet-cases.js';

export const files: BadInputCase[] = [
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

export const vanished: BadInputCase[] = [
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
