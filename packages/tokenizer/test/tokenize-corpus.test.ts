import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tokenizeCorpus, Tokenizer, TokenShardReader, verifyTokenShards } from '../src/index.js';
import { createCorpusFixture, hashFolder, type CorpusFixture } from './support/corpus-fixture.js';

let fixture: CorpusFixture;
let { root, rows, documents, tokenizer, parquetFiles } = {} as CorpusFixture;
beforeAll(async () => {
  fixture = await createCorpusFixture();
  ({ root, rows, documents, tokenizer, parquetFiles } = fixture);
});
afterAll(() => fixture.close());

describe('tokenizeCorpus', () => {
  it('writes the files that the format promises', async () => {
    const folder = join(root, 'format');
    const manifest = await tokenizeCorpus({
      rows,
      tokenizer,
      outputFolder: folder,
      workers: 0,
      tokensPerShard: 20_000,
    });
    expect(manifest).toMatchObject({
      formatVersion: 1,
      dtype: 'uint16',
      tokenizerSha256: tokenizer.sha256,
      vocabularySize: 1500,
      endOfTextToken: 0,
      documents: documents.length,
      emptyRows: rows.length - documents.length,
    });
    expect(manifest.shards.length).toBeGreaterThan(5);
    expect([...manifest.domains].sort()).toEqual(['code', 'docs', 'mathé']);
    expect(JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'))).toEqual(manifest);
    const expectedFiles = manifest.shards.flatMap((_, i) =>
      ['domain', 'offsets', 'quality', 'tokens', 'weight'].map(
        (part) => `shard-${String(i).padStart(5, '0')}.${part}.bin`,
      ),
    );
    expect((await readdir(folder)).sort()).toEqual(['manifest.json', ...expectedFiles]);

    // Read with nothing but DataView.
    let document = 0;
    for (const [i, shard] of manifest.shards.entries()) {
      const read = async (part: string) => {
        const bytes = await readFile(join(folder, `shard-${String(i).padStart(5, '0')}.${part}.bin`));
        return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      };
      const tokens = await read('tokens');
      const offsets = await read('offsets');
      const quality = await read('quality');
      const weight = await read('weight');
      const domain = await read('domain');
      expect(tokens.byteLength).toBe(shard.tokens * 2);
      for (let local = 0; local < shard.documents; local++, document++) {
        const start = Number(offsets.getBigUint64(local * 8, true));
        const end = Number(offsets.getBigUint64((local + 1) * 8, true));
        const ids = Array.from({ length: end - start }, (_, k) => tokens.getUint16((start + k) * 2, true));
        expect(ids.pop()).toBe(0);
        const row = documents[document];
        expect(ids).toEqual(Array.from(tokenizer.encode(row.text)));
        expect(quality.getFloat32(local * 4, true)).toBe(row.quality);
        expect(weight.getFloat32(local * 4, true)).toBe(row.weight);
        expect(manifest.domains[domain.getUint8(local)]).toBe(row.domain);
      }
    }
    expect(document).toBe(documents.length);
  });

  it('reports documents, tokens and bytes per token of each domain', async () => {
    const folder = join(root, 'statistics');
    const manifest = await tokenizeCorpus({ rows, tokenizer, outputFolder: folder, workers: 0 });
    for (const domain of manifest.domains) {
      const texts = documents.filter((row) => row.domain === domain).map(({ text }) => text);
      const tokens = texts.reduce((sum, text) => sum + tokenizer.encode(text).length, 0);
      const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
      expect(manifest.domainStatistics[domain]).toEqual({
        documents: texts.length,
        tokens: tokens + texts.length,
        bytes,
        bytesPerToken: bytes / tokens,
      });
    }
  });

  it('writes the same bytes from rows and from Parquet, whatever the number of workers', async () => {
    const options = { tokenizer, tokensPerShard: 9000 };
    const folders = ['r0', 'p0', 'p1', 'p3', 'r2'].map((name) => join(root, name));
    await tokenizeCorpus({ ...options, rows, outputFolder: folders[0], workers: 0 });
    await tokenizeCorpus({ ...options, parquetFiles, outputFolder: folders[1], workers: 0 });
    await tokenizeCorpus({ ...options, parquetFiles, outputFolder: folders[2], workers: 1 });
    await tokenizeCorpus({ ...options, parquetFiles, outputFolder: folders[3], workers: 3 });
    await tokenizeCorpus({ ...options, rows, outputFolder: folders[4], workers: 2 });
    const [fromRows, ...others] = await Promise.all(folders.map(hashFolder));
    expect(others[1]).toEqual(others[0]);
    expect(others[2]).toEqual(others[0]);
    expect(others[3]).toEqual(fromRows);
    // The manifests differ in where the input came from; the shards do not.
    expect({ ...others[0], 'manifest.json': '' }).toEqual({ ...fromRows, 'manifest.json': '' });
  });

  it('uses uint32 for a vocabulary above 65,536', async () => {
    const large = structuredClone(tokenizer.definition);
    large.added_tokens.push({ ...large.added_tokens[0], id: 70_000, content: '<|far|>' });
    const wide = Tokenizer.fromDefinition(large);
    const folder = join(root, 'wide');
    const input = rows.slice(0, 5);
    const manifest = await tokenizeCorpus({
      rows: input,
      tokenizer: wide,
      outputFolder: folder,
      workers: 1,
      endOfText: '<|far|>',
    });
    expect(manifest).toMatchObject({ dtype: 'uint32', endOfTextToken: 70_000 });
    await verifyTokenShards(folder);
    const reader = await TokenShardReader.open(folder, { tokenizer: wide });
    expect(reader.readDocument(0).at(-1)).toBe(70_000);
    expect(reader.readTokens(0)).toBeInstanceOf(Uint32Array);
    reader.close();
  });

  it('counts broken UTF-8 in Parquet as U+FFFD and missing values as their defaults', async () => {
    const path = join(root, 'broken-text.parquet');
    const bytes = [Buffer.from('ok'), Buffer.from([0x61, 0xff, 0xc3, 0x28]), null, Buffer.from('é')];
    await writeFile(
      path,
      Buffer.from(
        parquetWriteBuffer({ columnData: [{ name: 'content', data: bytes, type: 'BYTE_ARRAY', nullable: true }] }),
      ),
    );
    const outputFolder = join(root, 'broken-text');
    const manifest = await tokenizeCorpus({
      parquetFiles: [path],
      columns: { text: 'content' },
      tokenizer,
      outputFolder,
      workers: 1,
    });
    expect(manifest).toMatchObject({ documents: 3, emptyRows: 1, domains: ['text'] });
    const reader = await TokenShardReader.open(outputFolder);
    const texts = [0, 1, 2].map((i) => tokenizer.decode(reader.readDocument(i), { skipSpecial: true }));
    expect(texts).toEqual(['ok', 'a\ufffd\ufffd(', 'é']);
    expect(reader.document(1)).toMatchObject({ quality: 1, weight: 1, domain: 'text' });
    reader.close();
  });

  it('makes no shard of a corpus without text', async () => {
    const outputFolder = join(root, 'empty');
    const empty = Array.from({ length: 10_000 }, () => ({ text: '' }));
    const manifest = await tokenizeCorpus({ rows: empty, tokenizer, outputFolder, workers: 1 });
    expect(manifest).toMatchObject({ documents: 0, tokens: 0, emptyRows: 10_000, shards: [], domains: [] });
    await verifyTokenShards(outputFolder);
  });

  it('names what is wrong with its input', async () => {
    const outputFolder = join(root, 'wrong');
    const fail = (options: object) =>
      expect(tokenizeCorpus({ tokenizer, outputFolder, workers: 1, ...options })).rejects;
    await fail({}).toMatchObject({ code: 'INVALID_OPTIONS' });
    await fail({ rows, parquetFiles }).toMatchObject({ code: 'INVALID_OPTIONS' });
    await fail({ rows, tokensPerShard: 0 }).toMatchObject({ code: 'INVALID_OPTIONS' });
    await fail({ rows, typo: 1 }).toMatchObject({ code: 'INVALID_OPTIONS' });
    await fail({ rows, endOfText: '<|none|>' }).toMatchObject({ code: 'INVALID_OPTIONS', value: '<|none|>' });
    await fail({ rows: [{ text: 'x' }, { text: 5 }] }).toMatchObject({ code: 'INVALID_CORPUS' });
    await fail({ parquetFiles: [join(root, 'missing.parquet')] }).toMatchObject({ code: 'INVALID_CORPUS' });
    await fail({ parquetFiles, columns: { text: 'body' } }).toMatchObject({ code: 'INVALID_CORPUS', value: 'body' });
    await fail({ parquetFiles, columns: { text: 'quality' } }).toMatchObject({ code: 'INVALID_CORPUS' });
    await fail({ parquetFiles, columns: { weight: 'domain' } }).toMatchObject({ code: 'INVALID_CORPUS' });
    const many = Array.from({ length: 257 }, (_, i) => ({ text: 'x', domain: `d${i}` }));
    await fail({ rows: many, outputFolder: join(root, 'many') }).toMatchObject({
      code: 'INVALID_CORPUS',
      value: 'd256',
    });
    // Nothing half-written is left behind.
    expect((await readdir(outputFolder)).filter((name) => name !== 'progress')).toEqual([]);
  });

  it('names a Parquet file that was cut', async () => {
    const whole = await readFile(parquetFiles[0]);
    const path = join(root, 'cut.parquet');
    for (const size of [0, 3, 1000, whole.length - 100, whole.length - 1]) {
      await writeFile(path, whole.subarray(0, size));
      const failure = tokenizeCorpus({ parquetFiles: [path], tokenizer, outputFolder: join(root, 'cut'), workers: 0 });
      await expect(failure).rejects.toMatchObject({ code: 'INVALID_CORPUS', value: path });
    }
    // Damage in the middle, footer intact: found when that range is read.
    const damaged = Buffer.from(whole);
    damaged.fill(0xff, 20_000, 60_000);
    await writeFile(path, damaged);
    const failure = tokenizeCorpus({ parquetFiles: [path], tokenizer, outputFolder: join(root, 'cut'), workers: 1 });
    await expect(failure).rejects.toMatchObject({ code: 'INVALID_CORPUS' });
    await expect(failure).rejects.toThrow(path);
  });
});
