import { appendFile, copyFile, cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  tokenizeCorpus,
  Tokenizer,
  TokenShardReader,
  trainBytePairEncoding,
  verifyTokenShards,
  type ShardManifest,
} from '../src/index.js';
import { createCorpusFixture, type CorpusFixture } from './support/corpus-fixture.js';

let fixture: CorpusFixture;
let { root, random, rows, documents, tokenizer } = {} as CorpusFixture;
beforeAll(async () => {
  fixture = await createCorpusFixture();
  ({ root, random, rows, documents, tokenizer } = fixture);
});
afterAll(() => fixture.close());

describe('TokenShardReader and verifyTokenShards', () => {
  let whole: string;
  let manifest: ShardManifest;
  let folder: string;
  let copies = 0;
  beforeAll(async () => {
    whole = join(root, 'reader');
    manifest = await tokenizeCorpus({ rows, tokenizer, outputFolder: whole, workers: 0, tokensPerShard: 20_000 });
  });
  beforeEach(async () => {
    folder = join(root, `copy-${copies++}`);
    await cp(whole, folder, { recursive: true });
  });

  it('reads any document in any order, with few files open', async () => {
    const reader = await TokenShardReader.open(folder, { tokenizer, cachedShards: 2 });
    expect(reader).toMatchObject({
      documentCount: documents.length,
      tokenCount: manifest.tokens,
      vocabularySize: 1500,
    });
    for (let round = 0; round < 500; round++) {
      const index = Math.floor(random() * documents.length);
      const row = documents[index];
      const expected = [...tokenizer.encode(row.text), 0];
      const info = reader.document(index);
      expect(info).toMatchObject({
        domain: row.domain,
        quality: row.quality,
        weight: row.weight,
        length: expected.length,
      });
      expect(reader.domains[reader.documentDomain(index)]).toBe(row.domain);
      expect(reader.documentQuality(index)).toBe(row.quality);
      expect(reader.documentWeight(index)).toBe(row.weight);
      const start = Math.floor(random() * expected.length);
      const end = start + Math.floor(random() * (expected.length - start + 1));
      expect(Array.from(reader.readTokens(index, start, end))).toEqual(expected.slice(start, end));
      expect(Array.from(reader.readDocument(index, { start }))).toEqual(expected.slice(start));
      const target = new Int32Array(expected.length + 2).fill(-1);
      expect(reader.readDocumentInto(index, target, 1)).toBe(expected.length);
      expect(Array.from(target)).toEqual([-1, ...expected, -1]);
    }
    reader.close();
    expect(() => reader.readDocument(0)).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  });

  it('refuses places that do not exist', async () => {
    const reader = await TokenShardReader.open(folder);
    const outOfRange = expect.objectContaining({ code: 'OUT_OF_RANGE' }) as Error;
    for (const index of [-1, documents.length, 0.5, NaN]) expect(() => reader.document(index)).toThrow(outOfRange);
    expect(() => reader.readTokens(0, 0, 1e9)).toThrow(outOfRange);
    expect(() => reader.readTokens(0, -1, 2)).toThrow(outOfRange);
    expect(() => reader.readTokens(0, 5, 2)).toThrow(outOfRange);
    expect(() => reader.readDocumentInto(0, new Int32Array(1), 0)).toThrow(outOfRange);
    expect(() => reader.shardMetadata(manifest.shards.length)).toThrow(outOfRange);
    reader.close();
  });

  it('refuses a tokenizer that did not make the shards', async () => {
    const other = Tokenizer.fromDefinition(await trainBytePairEncoding(['x'], { vocabularySize: 300, workers: 0 }));
    await expect(TokenShardReader.open(folder, { tokenizer: other })).rejects.toMatchObject({
      code: 'TOKENIZER_MISMATCH',
      value: other.sha256,
    });
  });

  it('names each truncated, grown or missing file', async () => {
    await verifyTokenShards(folder);
    for (const name of (await readdir(whole)).filter((file) => file.startsWith('shard-00001'))) {
      const path = join(folder, name);
      const corrupt = expect.objectContaining({ code: 'CORRUPT_SHARDS', value: path }) as Error;
      const check = async () => {
        await expect(verifyTokenShards(folder)).rejects.toThrow(corrupt);
        const reader = await TokenShardReader.open(folder);
        const first = manifest.shards[0].documents;
        expect(() => reader.readDocument(first)).toThrow(corrupt);
        reader.close();
      };
      await truncate(path, 3);
      await check();
      await rm(path);
      await check();
      await copyFile(join(whole, name), path);
      await appendFile(path, 'x');
      await check();
      await copyFile(join(whole, name), path);
    }
    await verifyTokenShards(folder);
  });

  it('finds a single changed byte in any file', async () => {
    for (const name of (await readdir(whole)).filter((file) => file.startsWith('shard-0000'))) {
      const bytes = await readFile(join(whole, name));
      bytes[Math.floor(random() * bytes.length)] ^= 1 << Math.floor(random() * 8);
      await writeFile(join(folder, name), bytes);
      await expect(verifyTokenShards(folder)).rejects.toMatchObject({
        code: 'CORRUPT_SHARDS',
        value: join(folder, name),
      });
      await copyFile(join(whole, name), join(folder, name));
    }
  });

  it('refuses a manifest that is cut or does not add up', async () => {
    const path = join(folder, 'manifest.json');
    const text = await readFile(path, 'utf8');
    const changes = [
      text.slice(0, 500),
      '{}',
      JSON.stringify({ ...manifest, formatVersion: 2 }),
      JSON.stringify({ ...manifest, tokens: manifest.tokens + 1 }),
      JSON.stringify({ ...manifest, shards: manifest.shards.slice(1) }),
      JSON.stringify({ ...manifest, dtype: 'uint32' }),
      text.replace('shard-00000.tokens.bin', '../00000.tokens.bin'),
    ];
    for (const changed of changes) {
      await writeFile(path, changed);
      await expect(TokenShardReader.open(folder)).rejects.toMatchObject({ code: 'CORRUPT_SHARDS' });
    }
    await mkdir(join(root, 'nothing'));
    await expect(TokenShardReader.open(join(root, 'nothing'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });
});
