import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LabelledFilesOptions, LabelledPath } from './labelled-files.js';
import { readLabelledFiles } from './labelled-files.js';
import type { LabelledText } from './train.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'labelled-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const jsonl = (records: readonly unknown[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');

async function read(paths: readonly LabelledPath[], options?: LabelledFilesOptions): Promise<LabelledText[]> {
  const found: LabelledText[] = [];
  for await (const example of readLabelledFiles(paths, options)) found.push(example);
  return found;
}

async function write(name: string, content: string | Buffer): Promise<string> {
  const path = join(root, name);
  await writeFile(path, content);
  return path;
}

describe('readLabelledFiles', () => {
  it('takes the label from each record of JSON Lines and Parquet, or from the path', async () => {
    const lines = await write(
      'a.jsonl.gz',
      gzipSync(
        jsonl([
          { text: 'one', label: 'x' },
          { text: 'two', label: 1 },
          { text: 'three\r\n', label: true },
        ]),
      ),
    );
    const parquet = join(root, 'b.parquet');
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    await connection.run(
      `COPY (SELECT * FROM (VALUES ('four', 1, 'x'), ('five', 2, 'y')) AS t(text, grade, label)) TO '${parquet}' (FORMAT parquet)`,
    );
    connection.closeSync();
    await mkdir(join(root, 'folder'));
    await writeFile(join(root, 'folder', 'six.txt'), 'six');
    expect(await read([{ path: lines }, { path: parquet }, { path: join(root, 'folder'), label: 'y' }])).toEqual(
      expect.arrayContaining([
        { text: 'one', label: 'x' },
        { text: 'two', label: '1' },
        // Repaired, as curation does before it asks a classifier.
        { text: 'three\n', label: 'true' },
        { text: 'four', label: 'x' },
        { text: 'five', label: 'y' },
        { text: 'six', label: 'y' },
      ]),
    );
    const graded = await read([{ path: parquet }], { labelField: 'grade' });
    expect(graded).toEqual([
      { text: 'four', label: '1' },
      { text: 'five', label: '2' },
    ]);
    // What the records say of their label does not count where the path has one.
    expect((await read([{ path: parquet, label: 'z' }])).map(({ label }) => label)).toEqual(['z', 'z']);
  });

  it('chooses the same texts whatever the order of the files and of their lines', async () => {
    const records = Array.from({ length: 500 }, (_, index) => ({
      text: `text ${index}`,
      label: index % 3 === 0 ? 'a' : 'b',
    }));
    const whole = await write('whole.jsonl', jsonl(records));
    const backwards = await write('backwards.jsonl', jsonl([...records].reverse().slice(0, 200)));
    const rest = await write('rest.jsonl', jsonl([...records].reverse().slice(200)));
    const chosen = await read([{ path: whole }], { maximumPerLabel: 20 });
    expect(chosen.map(({ label }) => label).join('')).toBe('a'.repeat(20) + 'b'.repeat(20));
    expect(await read([{ path: rest }, { path: backwards }], { maximumPerLabel: 20 })).toEqual(chosen);
    expect(await read([{ path: whole }], { maximumPerLabel: 20, seed: 1 })).not.toEqual(chosen);
  });

  it.each([
    ['an empty text', { text: '  ', label: 'x' }, /#2: the text in "text" is empty/],
    ['no text', { body: 'x', label: 'x' }, /#2: no text in "text"/],
    ['a text that is none', { text: ['x'], label: 'x' }, /#2: no text/],
    ['no label', { text: 'x' }, /#2: no label in "label"/],
    ['a label that is none', { text: 'x', label: { is: 'x' } }, /#2: no label/],
    ['no object', 'text', /#2: not a JSON object/],
  ])('refuses %s, naming the line, or skips it', async (_, record, message) => {
    const path = await write(
      'bad.jsonl',
      jsonl([{ text: 'good', label: 'x' }, record, { text: 'better', label: 'y' }]),
    );
    await expect(read([{ path }])).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringMatching(message) as string,
    });
    const skipped: string[] = [];
    const found = await read([{ path }], {
      onBadInput: 'skip',
      onSkipped: (location, reason) => skipped.push(`${location}: ${reason}`),
    });
    expect(found.map(({ text }) => text)).toEqual(['good', 'better']);
    expect(skipped).toEqual([expect.stringMatching(message)]);
  });

  it('refuses files that are not there, damaged, of another kind, empty, or labelled with ids', async () => {
    await expect(read([{ path: join(root, 'nowhere.jsonl') }])).rejects.toMatchObject({ code: 'INPUT_NOT_FOUND' });
    await expect(read([{ path: root }])).rejects.toMatchObject({ code: 'INPUT_NOT_FOUND' });
    const text = await write('text.txt', 'text');
    await expect(read([{ path: text }])).rejects.toThrow(/neither JSON Lines nor Parquet, and has no label/);
    const empty = await write('empty.jsonl', '\n\n');
    await expect(read([{ path: empty }])).rejects.toThrow(/holds no labelled document/);
    const cut = gzipSync(jsonl(Array.from({ length: 2000 }, (_, index) => ({ text: `${index * 7919}`, label: 'x' }))));
    const damaged = await write('cut.jsonl.gz', cut.subarray(0, cut.length / 2));
    await expect(read([{ path: damaged }])).rejects.toThrow(/damaged or truncated gzip/);
    const noParquet = await write('no.parquet', 'PAR1 and nothing else');
    await expect(read([{ path: noParquet }])).rejects.toThrow(/not readable as Parquet/);
    const ids = await write(
      'ids.jsonl',
      jsonl(Array.from({ length: 300 }, (_, index) => ({ text: 'x', label: index }))),
    );
    await expect(read([{ path: ids }])).rejects.toThrow(/more than 256 different labels/);
    await expect(read([{ path: ids }], { maximumPerLabel: 0 })).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });
});
