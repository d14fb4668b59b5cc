/** Sources against files made by other programs' libraries, and against damage. */

import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WARCRecord, WARCSerializer } from 'warcio';
import { sourceSchema } from '../plan/source-schema.js';
import type { JsonlSourcePlan, WarcSourcePlan } from '../plan/source-schema.js';
import { growthOf, linear } from '../../test/growth.js';
import { sha256OfText } from '../util/files.js';
import { ByteQueue } from './byte-queue.js';
import { readJsonl } from './jsonl.js';
import { LicenseDetector } from './license-detector.js';
import type { RawDocument, SourceObserver } from './raw-document.js';
import { warcRecords } from './warc-records.js';
import { readWarc } from './warc.js';
import { listFiles } from './walk.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sources-'));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

interface Reading {
  documents: RawDocument[];
  bad: string[];
  skipped: string[];
  files: { path: string; bytes: number; sha256: string }[];
}

async function collect(open: (observer: SourceObserver) => AsyncIterable<RawDocument>): Promise<Reading> {
  const reading: Reading = { documents: [], bad: [], skipped: [], files: [] };
  const observer: SourceObserver = {
    onFile: (file) => reading.files.push(file),
    onBadInput: (location, reason) => reading.bad.push(`${location}: ${reason}`),
    onSkipped: (id, _path, reason) => reading.skipped.push(`${id}: ${reason}`),
  };
  for await (const document of open(observer)) reading.documents.push(document);
  return reading;
}

async function jsonl(name: string, options: object = {}): Promise<Reading> {
  const source = sourceSchema.parse({ type: 'jsonl', name: 's', path: root, ...options }) as JsonlSourcePlan;
  const { size } = await stat(join(root, name));
  return collect((observer) => readJsonl(source, root, [{ path: name, bytes: size, modified: 0 }], 0, observer));
}

async function warc(name: string, content: Uint8Array, options: object = {}): Promise<Reading> {
  await writeFile(join(root, name), content);
  const source = sourceSchema.parse({ type: 'warc', name: 'w', path: root, ...options }) as WarcSourcePlan;
  const file = { path: name, bytes: content.length, modified: 0 };
  return collect((observer) => readWarc(source, root, [file], 0, observer));
}

const lines = (count: number) =>
  Array.from(
    { length: count },
    (_, index) => `${JSON.stringify({ text: `line ${index}, ${'x'.repeat(index % 500)}` })}\n`,
  ).join('');

describe('JSON Lines', () => {
  it('reads Zstandard and gzip of several members like plain text', async () => {
    const plain = lines(5000);
    await writeFile(join(root, 'plain.jsonl'), plain);
    await writeFile(
      join(root, 'packed.jsonl.gz'),
      Buffer.concat([gzipSync(plain.slice(0, 100_000)), gzipSync(plain.slice(100_000))]),
    );
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    await connection.run(
      `COPY (SELECT text FROM read_json('${join(root, 'plain.jsonl')}')) TO '${join(root, 'packed.jsonl.zst')}' (FORMAT json, COMPRESSION zstd)`,
    );
    connection.closeSync();
    const expected = (await jsonl('plain.jsonl')).documents.map(({ text }) => text);
    expect(expected).toHaveLength(5000);
    for (const name of ['packed.jsonl.gz', 'packed.jsonl.zst']) {
      const reading = await jsonl(name);
      expect(
        reading.documents.map(({ text }) => text),
        name,
      ).toEqual(expected);
      expect(reading.bad).toEqual([]);
      const bytes = await readFile(join(root, name));
      expect(reading.files).toEqual([{ path: name, bytes: bytes.length, sha256: sha256OfText(bytes) }]);
    }
  });

  it.each(['gz', 'zst'])(
    'gives what stands before the cut of a truncated .%s file, and names the file',
    async (end) => {
      const whole = await readFile(join(root, `packed.jsonl.${end}`));
      await writeFile(join(root, `cut.jsonl.${end}`), whole.subarray(0, Math.floor(whole.length * 0.8)));
      const first = await jsonl(`cut.jsonl.${end}`);
      expect(first.bad).toHaveLength(1);
      expect(first.bad[0]).toMatch(
        new RegExp(`^s:cut\\.jsonl\\.${end}#${first.documents.length + 1}: damaged or truncated (gzip|zstd)`),
      );
      expect(first.documents.length).toBeGreaterThan(500);
      expect(first.documents.length).toBeLessThan(5000);
      expect(await jsonl(`cut.jsonl.${end}`)).toEqual(first);
    },
  );

  it('counts and names every kind of bad line, and holds none that is too long', async () => {
    const content = Buffer.concat([
      Buffer.from('{"text": "good"}\n[1]\n{"text": 7}\n{"body": "x"}\nnull\n{broken\n\n{"text": "'),
      Buffer.from([0xff, 0xfe, 0x80]),
      Buffer.from(`"}\r\n{"text": "${'y'.repeat(5000)}"}\n{"text": "last line without an end"}`),
    ]);
    await writeFile(join(root, 'bad.jsonl'), content);
    const { documents, bad } = await jsonl('bad.jsonl', { maximumLineBytes: 2000 });
    expect(documents.map(({ id, text }) => [id, text])).toEqual([
      ['s:bad.jsonl#1', 'good'],
      ['s:bad.jsonl#10', 'last line without an end'],
    ]);
    expect(bad).toEqual([
      's:bad.jsonl#2: not a JSON object',
      's:bad.jsonl#3: field "text" is not a string',
      's:bad.jsonl#4: field "text" is missing',
      's:bad.jsonl#5: not a JSON object',
      's:bad.jsonl#6: not JSON',
      's:bad.jsonl#8: invalid UTF-8',
      's:bad.jsonl#9: line longer than 2000 bytes',
    ]);
  });
});

const sentence =
  'The page has been written so that there is something that can be read by all of those who are looking for it here. ';
const html = (topic: string) => `<html><body><h1>${topic}</h1><p>${sentence.repeat(3)}${topic}</p></body></html>`;

async function record(
  url: string,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  statusline = 'HTTP/1.1 200 OK',
) {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const httpHeaders = { 'Content-Type': 'text/html; charset=utf-8', ...headers };
  const made = WARCRecord.create({ url, type: 'response', httpHeaders, statusline, date: '2020-01-01T00:00:00Z' }, [
    bytes,
  ]);
  return Buffer.from(await WARCSerializer.serialize(made));
}

async function conversion(url: string, text: string): Promise<Buffer> {
  const made = WARCRecord.create(
    { url, type: 'conversion', warcHeaders: { 'Content-Type': 'text/plain' }, date: '2020-01-01T00:00:00Z' },
    [Buffer.from(text)],
  );
  return Buffer.from(await WARCSerializer.serialize(made));
}

describe('WARC', () => {
  it('reads pages written by another library: HTML, other charsets, compressed bodies, WET text', async () => {
    const parts = [
      await record('http://a/1', html('Lighthouses')),
      await record('http://a/2', Buffer.from(html('Čeština').replace('Čeština', ''), 'latin1'), {
        'Content-Type': 'text/html; charset=iso-8859-2',
      }),
      await record('http://a/3', gzipSync(html('Packed')), { 'Content-Encoding': 'gzip' }),
      await record('http://a/4', 'not found', {}, 'HTTP/1.1 404 Not Found'),
      await record('http://a/5', 'PNG', { 'Content-Type': 'image/png' }),
      await conversion('http://a/6', 'Plain text of a page.\nSecond line.\n'),
    ];
    const { documents, bad, files } = await warc('good.warc.gz', Buffer.concat(parts.map((part) => gzipSync(part))));
    expect(bad).toEqual([]);
    expect(documents.map(({ id }) => id)).toEqual([1, 2, 3, 6].map((number) => `w:good.warc.gz#${number}`));
    expect(documents[0].text).toMatch(/^# Lighthouses\n\nThe page has been written/);
    expect(documents[2].text).toContain('# Packed');
    expect(documents[3].text).toBe('Plain text of a page.\nSecond line.\n');
    expect(files).toHaveLength(1);
    const plain = await warc('good.warc', Buffer.concat(parts));
    expect(plain.documents.map(({ text }) => text)).toEqual(documents.map(({ text }) => text));
  });

  it('names a record with a lying length, and goes on with the next', async () => {
    const good = [
      await record('http://a/1', html('First')),
      await record('http://a/3', html('Third')),
      await record('http://a/4', html('Fourth')),
    ];
    const lie = (await record('http://a/2', html('Second'))).toString('latin1');
    for (const change of [40, -40, 3000, 1_000_000_000]) {
      const lying = lie.replace(
        /Content-Length: (\d+)/,
        (_, length: string) => `Content-Length: ${Number(length) + change}`,
      );
      const content = Buffer.concat([good[0], Buffer.from(lying, 'latin1'), good[1], good[2]]);
      const { documents, bad } = await warc(
        `lying${change}.warc`,
        content,
        change > 1e6 ? {} : { maximumRecordBytes: 100_000 },
      );
      expect(bad.length).toBeGreaterThan(0);
      expect(bad[0]).toMatch(/#2: (the length of the record is wrong|the file ends inside the record)/);
      const titles = documents.map(({ text }) => /^# (\w+)/.exec(text!)?.[1]);
      expect(titles).toEqual(['First', 'Third', 'Fourth']);
    }
  });

  it('names a cut file, garbage, bombs, and records too large', async () => {
    const whole = Buffer.concat([
      await record('http://a/1', html('First')),
      await record('http://a/2', html('Second')),
    ]);
    const cut = await warc('cut.warc', whole.subarray(0, whole.length - 300));
    expect(cut.bad).toEqual(['w:cut.warc#2: the file ends inside the record']);
    const garbage = await warc('garbage.warc', Buffer.concat([Buffer.from('garbage\n'), whole]));
    expect(garbage.bad).toEqual(['w:garbage.warc#1: not the beginning of a WARC record']);
    expect(garbage.documents).toHaveLength(2);
    const nested = await warc('nested.warc', await record('http://a/1', '<div>'.repeat(200_000)));
    expect(nested.bad).toEqual(['w:nested.warc#1: HTML nested deeper than 512 elements']);
    const bomb = gzipSync(Buffer.alloc(50_000_000, 32));
    const bombed = await warc('bomb.warc', await record('http://a/1', bomb, { 'Content-Encoding': 'gzip' }));
    expect(bombed.bad).toEqual(['w:bomb.warc#1: the record expands beyond the limit']);
    const large = await warc('large.warc', Buffer.concat([await record('http://a/1', ' '.repeat(5000)), whole]), {
      maximumRecordBytes: 4000,
    });
    expect(large.skipped).toEqual(['w:large.warc#1: record too large']);
    expect(large.documents).toHaveLength(2);
    const headless = await warc('headless.warc', Buffer.from('WARC/1.0\r\nWARC-Type: response\r\n\r\nbody\r\n\r\n'));
    expect(headless.bad).toEqual(['w:headless.warc#1: no valid Content-Length']);
  });
});

describe('warcRecords', () => {
  it.each([
    ['claims a little less than the limit', (limit: number) => limit - 1000],
    ['claims a little more than the limit', (limit: number) => limit + 1000],
    ['claims far too much', () => 1e12],
  ])('takes time in proportion to the size of a file whose every record %s', async (_, claim) => {
    const limit = 1_000_000;
    const lie = `WARC/1.0\r\nWARC-Type: response\r\nContent-Length: ${claim(limit)}\r\n\r\nbody\r\n\r\n`;
    const readAll = async (records: number) => {
      const file = Buffer.from(lie.repeat(records));
      async function* pieces() {
        for (let start = 0; start < file.length; start += 65_536)
          yield await Promise.resolve(file.subarray(start, start + 65_536));
      }
      let bad = 0;
      for await (const event of warcRecords(new ByteQueue(pieces()), limit)) if (event.kind === 'bad') bad++;
      expect(bad).toBeGreaterThan(records * 0.9);
    };
    expect(await growthOf(readAll, 2500)).toBeLessThan(linear);
  });
});

describe('LicenseDetector', () => {
  it('reads licences inside the folder only, and no more of them than it takes to tell', async () => {
    const outside = join(root, 'outside');
    const folder = join(root, 'licences');
    await mkdir(join(folder, 'linked'), { recursive: true });
    await mkdir(outside);
    await writeFile(join(outside, 'LICENSE'), 'GNU General Public License, version 3');
    await writeFile(join(outside, 'package.json'), '{"license": "GPL-3.0"}');
    await symlink(join(outside, 'LICENSE'), join(folder, 'linked/LICENSE'));
    await symlink(join(outside, 'package.json'), join(folder, 'linked/package.json'));
    await writeFile(join(folder, 'LICENSE'), `Permission is hereby granted, free of charge, ${' '.repeat(5_000_000)}`);
    const detector = new LicenseDetector(folder);
    expect(await detector.licenseOf('linked/a.md', '')).toBe('MIT');
    expect(await detector.licenseOf('linked/b.md', '// SPDX-License-Identifier: ISC\n')).toBe('ISC');
    expect(await new LicenseDetector(outside).licenseOf('a.md', '')).toBe('GPL-3.0');
  });
});

describe('listFiles', () => {
  it('walks each real file once, in a stable order, past links and cycles', async () => {
    const folder = join(root, 'walk');
    for (const name of ['b/one.md', 'a/two.md', 'a/node_modules/x/three.md', 'a.md', 'skip/four.md']) {
      await mkdir(join(folder, name, '..'), { recursive: true });
      await writeFile(join(folder, name), name);
    }
    await symlink(folder, join(folder, 'a/cycle'));
    await symlink(join(folder, 'b/one.md'), join(folder, 'link.md'));
    const { files } = await listFiles(folder, { include: ['**/*.md'], exclude: ['skip/**'] });
    expect(files.map(({ path }) => path)).toEqual(['a/node_modules/x/three.md', 'a/two.md', 'a.md', 'b/one.md']);
    await expect(listFiles(join(folder, 'none'), { include: ['**'], exclude: [] })).rejects.toMatchObject({
      code: 'INPUT_NOT_FOUND',
    });
  });
});
