/** Classifiers applied to files: what comes out, what is refused, and runs killed at any moment. */

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { DuckDBConnection, DuckDBInstance as Instance } from '@duckdb/node-api';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ClassifyFilesOptions } from '../src/classifier/classify-files.js';
import { classifyFiles } from '../src/classifier/classify-files.js';
import type { TextClassifier } from '../src/classifier/text-classifier.js';
import { trainTextClassifier } from '../src/classifier/train.js';
import { curate } from '../src/engine/curate.js';
import { seededRandom } from '../src/util/permutation.js';
import { sqlFile, sqlString } from '../src/util/sql.js';
import { code, prose } from './corpus.js';
import { hashFolder } from './folder-hash.js';

let root: string;
let folder: string;
let output: string;
let database: Instance;
let connection: DuckDBConnection;
let classifier: TextClassifier;
let second: TextClassifier;
const modelPath = () => join(root, 'model.classifier');

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "classify it's [a]*=b "));
  database = await DuckDBInstance.create(':memory:');
  connection = await database.connect();
  const train = async (seed: number, from: number) => {
    const examples = Array.from({ length: 240 }, (_, index) =>
      index % 2 === 0 ? { text: prose(from + index, 5), label: 'high' } : { text: code(from + index), label: 'low' },
    );
    return (await trainTextClassifier({ examples, buckets: 2 ** 12, seed, epochs: 2 })).classifier;
  };
  classifier = await train(0, 10_000);
  second = await train(1, 20_000);
  await classifier.save(modelPath());
});
afterAll(async () => {
  connection.closeSync();
  database.closeSync();
  await rm(root, { recursive: true, force: true });
});
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
  output = join(folder, 'output');
});

const round = (value: number) => Math.round(value * 10_000) / 10_000;
const jsonl = (records: readonly unknown[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const text = (index: number) => (index % 2 === 0 ? prose(index, 5) : code(index));

async function write(name: string, content: string | Buffer): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

function classify(paths: readonly string[], options: Partial<ClassifyFilesOptions> = {}) {
  return classifyFiles({ classifiers: [classifier], paths, outputFolder: output, ...options });
}

async function rows(path: string): Promise<Record<string, unknown>[]> {
  const reader = await connection.runAndReadAll(
    `SELECT * FROM read_parquet(${sqlFile(path)}, hive_partitioning = false)`,
  );
  return reader.getRowObjectsJson();
}

describe('JSON Lines', () => {
  it('keep their bytes and get the label and its probability', async () => {
    const lines = [
      `{"text": ${JSON.stringify(text(0))}, "id": 12345678901234567890, "a":1.10, "a": 2 }`,
      `{"nested": {"text": "}"}, "text":${JSON.stringify(text(1))}}`,
    ];
    const path = await write('a.jsonl', `${lines.join('\r\n')}\n\n`);
    const summary = await classify([path]);
    const written = (await readFile(join(output, 'a.jsonl'), 'utf8')).split('\n');
    const expected = lines.map((line, index) => {
      const { label, probability } = classifier.predict(text(index));
      return `${line.slice(0, -1).trimEnd()},"predicted":"${label}","predictedProbability":${round(probability)}}`;
    });
    expect(written).toEqual([...expected, '']);
    expect(summary).toMatchObject({ documents: 2, badInputs: {} });
    expect(summary.labels.map(({ label, documents }) => [label, documents])).toEqual([
      ['high', 1],
      ['low', 1],
    ]);
    // Repaired before it is classified, as a curation does.
    expect(classifier.predict(text(0)).label).toBe('high');
  });

  it.each([
    ['gz', 'mean of two'],
    ['zst', 'mean of two'],
  ])('packed as .%s give the %s classifiers as gzip', async (suffix) => {
    const records = Array.from({ length: 400 }, (_, index) => ({ text: text(index), index }));
    const plain = await write('plain.jsonl', jsonl(records));
    const path = join(folder, `packed.jsonl.${suffix}`);
    if (suffix === 'gz') await writeFile(path, gzipSync(jsonl(records)));
    else {
      await connection.run(
        `COPY (SELECT text, index FROM read_json(${sqlFile(plain)})) TO ${sqlString(path)} (FORMAT json, COMPRESSION zstd)`,
      );
    }
    await classify([path], { classifiers: [classifier, second], scoreOf: 'high' });
    const lines = gunzipSync(await readFile(join(output, 'packed.jsonl.gz')))
      .toString()
      .trimEnd()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      records.map((record) => ({
        ...record,
        score: round(
          (classifier.predict(record.text).probabilities.high + second.predict(record.text).probabilities.high) / 2,
        ),
      })),
    );
    // The order of the classifiers changes no byte, and a rerun knows them again.
    const again = await classify([path], { classifiers: [second, classifier], scoreOf: 'high' });
    expect(again.files).toEqual([{ path: join(output, 'packed.jsonl.gz'), documents: 400, wasDone: true }]);
  });

  it('that cannot be read are counted and left out, those without text get null; or the first one ends the run', async () => {
    const bad = ['{"text": "cut', '[1]', '{"text": 5}', '{}', '{"text": " "}'];
    const path = await write('bad.jsonl', `${JSON.stringify({ text: text(0) })}\n${bad.join('\n')}\n`);
    const skipped: string[] = [];
    const { badInputs, documents } = await classify([path], {
      scoreOf: 'high',
      onSkipped: (location, reason) => skipped.push(`${location.slice(folder.length + 1)}: ${reason}`),
    });
    expect(badInputs).toEqual({ 'not JSON': 1, 'not a JSON object': 1, 'no text in "text"': 3 });
    expect(skipped[0]).toBe('bad.jsonl#2: not JSON');
    expect(documents).toBe(4);
    expect((await readFile(join(output, 'bad.jsonl'), 'utf8')).trimEnd().split('\n').slice(1)).toEqual([
      '{"text": 5,"score":null}',
      '{"score":null}',
      '{"text": " ","score":null}',
    ]);
    const strict = join(folder, 'strict');
    await expect(classify([path], { outputFolder: strict, onBadInput: 'fail' })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      value: `${path}#2`,
    });
    expect(await readdir(strict)).toEqual(['classified.jsonl']);
  });

  it('cut in the middle of their gzip are used up to there', async () => {
    const whole = gzipSync(jsonl(Array.from({ length: 3000 }, (_, index) => ({ text: `${index * 7919} and so on` }))));
    const path = await write('cut.jsonl.gz', whole.subarray(0, whole.length / 2));
    const { documents, badInputs } = await classify([path]);
    expect(documents).toBeGreaterThan(500);
    expect(Object.keys(badInputs)).toEqual([expect.stringMatching(/damaged or truncated gzip/)]);
    await expect(classify([path], { outputFolder: join(folder, 'strict'), onBadInput: 'fail' })).rejects.toThrow(
      /truncated gzip/,
    );
  });
});

describe('Parquet', () => {
  it('keeps its rows, their order and all columns', async () => {
    const plain = await write(
      'plain.jsonl',
      jsonl(Array.from({ length: 7000 }, (_, index) => ({ text: text(index) }))),
    );
    const path = join(folder, 'input.parquet');
    await connection.run(
      `COPY (
         SELECT row_number() OVER () AS id, CASE WHEN id % 1000 = 7 THEN NULL ELSE text END AS text,
           [id, id + 1] AS list, {'a': id, 'b': 'x'} AS structure, DATE '2020-01-01' + id::INTEGER AS day, id::HUGEINT AS large
         FROM read_json(${sqlFile(plain)})
       ) TO ${sqlString(path)} (FORMAT parquet, ROW_GROUP_SIZE 2048)`,
    );
    const { documents, badInputs } = await classify([path]);
    expect(documents).toBe(7000);
    expect(badInputs).toEqual({ 'no text in "text"': 7 });
    const before = await rows(path);
    const after = await rows(join(output, 'input.parquet'));
    expect(after).toEqual(
      before.map((row) => {
        const prediction = row.text === null ? undefined : classifier.predict(row.text as string);
        return {
          ...row,
          predicted: prediction?.label ?? null,
          predictedProbability: prediction === undefined ? null : round(prediction.probability),
        };
      }),
    );
  });

  it('is refused when it is damaged, has no texts, or has the column already', async () => {
    const path = join(folder, 'input.parquet');
    await connection.run(
      `COPY (SELECT 'some text ' || i AS text, i AS number, i AS "Score" FROM range(30000) r(i)) TO ${sqlString(path)} (FORMAT parquet)`,
    );
    await expect(classify([path], { scoreOf: 'high' })).rejects.toThrow(/has a field "score" already/);
    await classify([path], { scoreOf: 'high', column: 'quality', outputFolder: join(folder, 'other') });
    await expect(classify([path], { textField: 'body' })).rejects.toThrow(/column "body" is missing/);
    await expect(classify([path], { textField: 'number', outputFolder: join(folder, 'b') })).rejects.toThrow(
      /column "number" is BIGINT/,
    );
    const bytes = await readFile(path);
    const cut = await write('cut.parquet', bytes.subarray(0, bytes.length / 2));
    await expect(classify([cut], { outputFolder: join(folder, 'c') })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    // Damage inside, where the footer is whole.
    const hurt = await write('hurt.parquet', Buffer.from(bytes).fill(0xff, 1000, 60_000));
    await expect(classify([hurt], { outputFolder: join(folder, 'd') })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    });
    for (const name of ['c', 'd']) expect(await readdir(join(folder, name))).toEqual(['classified.jsonl']);
  });
});

describe('classifyFiles', () => {
  it('gives the score that a curation gives', async () => {
    const path = await write('a.jsonl', jsonl(Array.from({ length: 60 }, (_, index) => ({ text: text(index) }))));
    await classify([path], { scoreOf: 'high', column: 'wanted' });
    const lines = (await readFile(join(output, 'a.jsonl'), 'utf8')).trimEnd().split('\n');
    const { shards } = await curate(
      {
        sources: [{ type: 'jsonl', name: 'a', path }],
        filters: [{ filter: 'length' }],
        quality: [{ method: 'classifier', model: modelPath() }],
        heldout: { fraction: 0 },
      },
      { outputFolder: join(folder, 'corpus'), workers: 1 },
    );
    const curated = (await Promise.all(shards.map((shard) => rows(shard.path)))).flat();
    expect(curated.length).toBeGreaterThan(50);
    const qualities = new Map(curated.map(({ text, quality }) => [text, Number(quality)]));
    let compared = 0;
    for (const { text, wanted } of lines.map((line) => JSON.parse(line) as { text: string; wanted: number })) {
      if (!qualities.has(text)) continue;
      expect(qualities.get(text)).toBeCloseTo(wanted, 6);
      compared++;
    }
    expect(compared).toBe(curated.length);
  });

  it('takes folders with their structure, and leaves other files alone', async () => {
    await mkdir(join(folder, 'in', 'deep'), { recursive: true });
    await writeFile(join(folder, 'in', 'a.jsonl'), jsonl([{ text: 'a' }]));
    await writeFile(join(folder, 'in', 'deep', 'a.jsonl'), jsonl([{ text: 'b' }]));
    await writeFile(join(folder, 'in', 'notes.txt'), 'c');
    const { files } = await classify([join(folder, 'in')]);
    expect(files.map(({ path }) => path)).toEqual([join(output, 'a.jsonl'), join(output, 'deep', 'a.jsonl')]);
    await expect(classify([join(folder, 'in', 'notes.txt')])).rejects.toThrow(/neither JSON Lines nor Parquet/);
    await expect(
      classify([join(folder, 'in', 'a.jsonl'), join(folder, 'in', 'deep', 'a.jsonl')]),
    ).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await expect(classify([join(folder, 'in')], { outputFolder: join(folder, 'in') })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    });
    await expect(classify([join(folder, 'nowhere')])).rejects.toMatchObject({ code: 'INPUT_NOT_FOUND' });
  });

  it('refuses a folder of other settings, one with files of other origin, and labels that there are not', async () => {
    const path = await write('a.jsonl', jsonl([{ text: 'a', predicted: 1 }]));
    await expect(classify([path])).rejects.toThrow(/#1 has a field "predicted" already/);
    // Nothing was finished: other settings may begin.
    await classify([path], { scoreOf: 'high' });
    await expect(classify([path], { scoreOf: 'low' })).rejects.toMatchObject({
      code: 'OUTPUT_FOLDER_MISMATCH',
      message: expect.stringContaining('scoreOf differs') as string,
    });
    await expect(classify([path], { scoreOf: 'high', classifiers: [second] })).rejects.toThrow(/classifiers differ/);
    await expect(classify([path], { scoreOf: 'best' })).rejects.toThrow(/no label "best"/);
    const foreign = join(folder, 'foreign');
    await mkdir(foreign);
    await writeFile(join(foreign, 'a.jsonl'), 'mine');
    await expect(classify([path], { scoreOf: 'high', outputFolder: foreign })).rejects.toMatchObject({
      code: 'OUTPUT_FOLDER_MISMATCH',
    });
    expect(await readFile(join(foreign, 'a.jsonl'), 'utf8')).toBe('mine');
    await writeFile(join(foreign, 'classified.jsonl'), 'also mine\n');
    await expect(classify([path], { scoreOf: 'high', outputFolder: foreign })).rejects.toMatchObject({
      code: 'OUTPUT_CORRUPT',
    });
  });

  it('classifies a file again when it has changed, or when its output has', async () => {
    const paths = [await write('a.jsonl', jsonl([{ text: 'a' }])), await write('b.jsonl', jsonl([{ text: 'b' }]))];
    const done = async () => (await classify(paths)).files.map(({ wasDone }) => wasDone);
    expect(await done()).toEqual([false, false]);
    expect(await done()).toEqual([true, true]);
    await utimes(paths[0], 1e9, 1e9);
    expect(await done()).toEqual([false, true]);
    await writeFile(join(output, 'b.jsonl'), 'cut');
    expect(await done()).toEqual([true, false]);
  });

  it('killed at any moment goes on with the next file, to the same bytes', async () => {
    const paths: string[] = [];
    for (let file = 0; file < 6; file++) {
      const records = jsonl(Array.from({ length: 600 }, (_, index) => ({ text: text(file * 600 + index) })));
      if (file % 3 < 2) {
        paths.push(
          await write(`${file}.jsonl${file % 3 === 0 ? '' : '.gz'}`, file % 3 === 0 ? records : gzipSync(records)),
        );
        continue;
      }
      const plain = await write(`${file}.ndjson`, records);
      const path = join(folder, `${file}.parquet`);
      await connection.run(
        `COPY (SELECT text FROM read_json(${sqlFile(plain)})) TO ${sqlString(path)} (FORMAT parquet)`,
      );
      paths.push(path);
    }
    const child = fileURLToPath(new URL('./classifier/classify.mjs', import.meta.url));
    const run = (outputFolder: string, killAfter?: number) =>
      new Promise<NodeJS.Signals | number | null>((resolve) => {
        const started = spawn(process.execPath, [child, modelPath(), outputFolder, ...paths], { stdio: 'inherit' });
        const timer = killAfter === undefined ? undefined : setTimeout(() => started.kill('SIGKILL'), killAfter);
        started.on('exit', (exitCode, signal) => {
          clearTimeout(timer);
          resolve(exitCode ?? signal);
        });
      });
    const whole = join(folder, 'whole');
    const begin = performance.now();
    expect(await run(whole)).toBe(0);
    const duration = performance.now() - begin;
    const expected = await hashFolder(whole);
    expect(Object.keys(expected)).toHaveLength(7);

    const random = seededRandom(Date.now() % 1e9);
    let kills = 0;
    let kept: { path: string; inode: number } | undefined;
    for (let attempt = 0; attempt < 8; attempt++) {
      if ((await run(output, duration * (0.2 + 0.5 * random()))) !== 'SIGKILL') break;
      kills++;
      const log = (await readFile(join(output, 'classified.jsonl'), 'utf8').catch(() => '')).split('\n').slice(1, -1);
      // A finished file stays the one it is.
      if (kept !== undefined) expect((await stat(kept.path)).ino).toBe(kept.inode);
      else if (log.length > 0) {
        const path = join(output, (JSON.parse(log[0]) as { output: string }).output);
        kept = { path, inode: (await stat(path)).ino };
      }
    }
    expect(kills).toBeGreaterThan(0);
    expect(await run(output)).toBe(0);
    expect(await hashFolder(output)).toEqual(expected);
    expect(await readdir(output)).toEqual((await readdir(whole)).sort());
  });

  it('is stopped by its signal, and keeps what is finished', async () => {
    const small = await write('a.jsonl', jsonl([{ text: 'a' }]));
    const large = await write(
      'b.jsonl',
      jsonl(Array.from({ length: 5000 }, (_, index) => ({ text: `text ${index}` }))),
    );
    const controller = new AbortController();
    await expect(
      classify([small, large], { signal: controller.signal, onProgress: () => controller.abort() }),
    ).rejects.toMatchObject({ code: 'ABORTED' });
    expect((await readdir(output)).sort()).toEqual(['a.jsonl', 'classified.jsonl']);
    expect((await classify([small, large])).files.map(({ wasDone }) => wasDone)).toEqual([true, false]);
  });
});
