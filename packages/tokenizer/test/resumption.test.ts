import { execFile, spawn } from 'node:child_process';
import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tokenizeCorpus } from '../src/index.js';
import { createCorpusFixture, hashFolder, type CorpusFixture } from './support/corpus-fixture.js';

const child = fileURLToPath(new URL('support/tokenize-child.mjs', import.meta.url));

let fixture: CorpusFixture;
let { root, random, rows, documents, tokenizer, parquetFiles } = {} as CorpusFixture;
beforeAll(async () => {
  fixture = await createCorpusFixture();
  ({ root, random, rows, documents, tokenizer, parquetFiles } = fixture);
  await writeFile(join(root, 'rows.json'), JSON.stringify(rows));
});
afterAll(() => fixture.close());

describe('resumption', () => {
  const run = (outputFolder: string, workers: number, input: string) =>
    [process.execPath, [child, fixture.tokenizerFolder, outputFolder, String(workers), input]] as const;

  it.each([['rows.json'], ['a.parquet,b.parquet']])(
    'ends with the same bytes after kills at any moment: %s',
    async (names) => {
      const input = names
        .split(',')
        .map((name) => join(root, name))
        .join(',');
      const whole = join(root, `whole-${names}`);
      const started = performance.now();
      await promisify(execFile)(...run(whole, 1, input));
      let duration = performance.now() - started;
      const expected = await hashFolder(whole);

      const killed = join(root, `killed-${names}`);
      for (let kills = 0; kills < 6;) {
        const [command, args] = run(killed, kills % 3, input);
        const process = spawn(command, args, { stdio: 'ignore' });
        // From before the first file until near the end; later attempts have less left to do.
        const timer = setTimeout(() => process.kill('SIGKILL'), duration * (0.3 + 0.6 * random()));
        const signal = await new Promise((resolve) => process.once('exit', (_, by) => resolve(by)));
        clearTimeout(timer);
        if (signal === 'SIGKILL') kills++;
        else {
          // It was faster than the clock: the whole must be right, and the next attempt starts anew and dies sooner.
          expect(await hashFolder(killed)).toEqual(expected);
          await rm(killed, { recursive: true });
          duration *= 0.7;
        }
      }
      await promisify(execFile)(...run(killed, 2, input));
      expect(await hashFolder(killed)).toEqual(expected);
    },
  );

  it('keeps the shards that were finished when it is stopped, and continues after them', async () => {
    const options = { tokenizer, workers: 0, tokensPerShard: 30_000 };
    const whole = join(root, 'stopped-whole');
    await tokenizeCorpus({ ...options, parquetFiles, outputFolder: whole });
    const expected = await hashFolder(whole);
    const folder = join(root, 'stopped');
    const recorded = async () => (await readdir(join(folder, 'progress'))).filter((name) => name.endsWith('.json'));
    let stops = 0;
    // Each attempt goes one piece of input further than the one before.
    for (let pieces = 1; ; pieces++) {
      const stop = new AbortController();
      let seen = 0;
      const onProgress = () => {
        if (++seen === pieces) stop.abort();
      };
      const attempt = { ...options, parquetFiles, outputFolder: folder, signal: stop.signal, onProgress };
      const finished = await tokenizeCorpus(attempt).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'ABORTED' });
        return undefined;
      });
      if (finished !== undefined) break;
      stops++;
      expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
      if (stops === 3) expect((await recorded()).length).toBeGreaterThan(1);
    }
    expect(stops).toBeGreaterThan(2);
    expect(await hashFolder(folder)).toEqual(expected);
  });

  it('gives back what is finished, and refuses other arguments', async () => {
    const outputFolder = join(root, 'finished');
    const options = { tokenizer, outputFolder, workers: 0, tokensPerShard: 50_000 };
    const manifest = await tokenizeCorpus({ ...options, parquetFiles });
    const hashes = await hashFolder(outputFolder);
    expect(await tokenizeCorpus({ ...options, parquetFiles })).toEqual(manifest);
    expect(await hashFolder(outputFolder)).toEqual(hashes);
    const mismatch = { code: 'RESUME_MISMATCH' };
    await expect(tokenizeCorpus({ ...options, parquetFiles, tokensPerShard: 1 })).rejects.toMatchObject(mismatch);
    await expect(tokenizeCorpus({ ...options, parquetFiles: [parquetFiles[0]] })).rejects.toMatchObject(mismatch);
    await expect(tokenizeCorpus({ ...options, rows })).rejects.toMatchObject(mismatch);
    await truncate(join(outputFolder, 'shard-00001.tokens.bin'), 10);
    await expect(tokenizeCorpus({ ...options, parquetFiles })).rejects.toThrow('shard-00001.tokens.bin');
  });

  it('refuses to continue with other rows', async () => {
    const outputFolder = join(root, 'other-rows');
    const options = { tokenizer, outputFolder, workers: 0 };
    await tokenizeCorpus({ ...options, rows });
    const mismatch = { code: 'RESUME_MISMATCH' };
    expect(await tokenizeCorpus({ ...options, rows })).toMatchObject({ documents: documents.length });
    await expect(tokenizeCorpus({ ...options, rows: rows.slice(1) })).rejects.toMatchObject(mismatch);
    await expect(tokenizeCorpus({ ...options, rows: [...rows, { text: 'x' }] })).rejects.toMatchObject(mismatch);
    await expect(
      tokenizeCorpus({ ...options, rows: rows.map((row) => ({ ...row, weight: 9 })) }),
    ).rejects.toMatchObject(mismatch);
  });
});
