/** The way from text to a trained model through token shards on disk, as the trainer goes it. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tokenizeCorpus, Tokenizer, TokenShardReader, trainBytePairEncoding } from '@xgen-small/tokenizer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { combineDocumentSources } from '../src/data/combine-sources';
import { memoryDocumentSource } from '../src/data/memory-source';
import { evaluateLoss } from '../src/evaluate/evaluate-loss';
import { tokenByteLengths } from '../src/evaluate/token-byte-lengths';
import { runPretrainStage } from '../src/run/run-pretrain-stage';
import { extensionStages } from '../src/stage/extension-stages';
import type { PretrainStageInput } from '../src/stage/stage';
import { tinyModel } from './tiny-model';

const rows = Array.from({ length: 60 }, (_, i) => ({
  text: `${i % 2 === 0 ? 'The sum of' : 'const total ='} ${i} and ${i + 1} is ${2 * i + 1}. Größe: ${'again, '.repeat(i)}`,
  domain: i % 2 === 0 ? 'prose' : 'code',
  quality: i / 60,
  weight: 1 + (i % 3),
}));
let root: string;
let tokenizer: Tokenizer;
let reader: TokenShardReader;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'pretrain-shards-'));
  tokenizer = Tokenizer.fromDefinition(
    await trainBytePairEncoding(
      rows.map(({ text }) => text),
      { vocabularySize: 300, workers: 0 },
    ),
  );
  const options = { rows, tokenizer, outputFolder: join(root, 'shards'), workers: 0, tokensPerShard: 500 };
  await tokenizeCorpus(options);
  reader = await TokenShardReader.open(join(root, 'shards'));
});
afterAll(async () => {
  reader.close();
  await rm(root, { recursive: true, force: true });
});

const stage: PretrainStageInput = {
  name: 'shards',
  contextLength: 64,
  tokensPerStep: 256,
  steps: 25,
  learningRate: { type: 'cosine', peak: 0.01 },
  mixture: { prose: { share: 1 }, code: { share: 1, topFraction: { start: 1, end: 0.5 } } },
};
const newModel = () => tinyModel({ vocabularySize: tokenizer.vocabularySize });

describe('a reader of token shards', () => {
  it('trains, extends and is evaluated like documents in memory', async () => {
    expect(reader.manifest.shards.length).toBeGreaterThan(1);
    const model = await newModel();
    const bytes = tokenByteLengths(tokenizer);
    const evaluate = () => evaluateLoss({ model, data: reader, contextLength: 64, tokenByteLengths: bytes });
    const before = await evaluate();
    const first = await runPretrainStage({ model, data: reader, stage, folder: join(root, 'first'), seed: 1 });
    const after = await evaluate();
    for (const domain of ['prose', 'code']) {
      const text = rows.filter((row) => row.domain === domain).map((row) => row.text);
      expect(after.domains[domain].bytes).toBe(Buffer.byteLength(text.join('')));
      expect(after.domains[domain].bitsPerByte).toBeLessThan(0.7 * before.domains[domain].bitsPerByte!);
    }
    const retrieval = memoryDocumentSource(
      rows.slice(40).map(({ text }) => ({ tokens: tokenizer.encode(text.repeat(2)), domain: 'retrieval' })),
      { vocabularySize: tokenizer.vocabularySize },
    );
    const [longer] = extensionStages({
      stage,
      model: first.model.config,
      steps: [{ factor: 2, tokens: 1024, learningRate: stage.learningRate, minimumDocumentTokens: 100 }],
      retrieval: { domain: 'retrieval', share: 0.5 },
    });
    const second = await runPretrainStage({
      model: first.model,
      data: combineDocumentSources([reader, retrieval]),
      stage: longer,
      folder: join(root, 'second'),
      seed: 1,
      optimizerFrom: join(root, 'first'),
    });
    expect(second.model.config.maximumPositions).toBe(128);
    expect(Math.abs(second.domains.retrieval.tokens / second.tokens - 0.5)).toBeLessThan(0.2);
    second.model.dispose();
    model.dispose();
  });

  it('has other contents when a document changes, and the run says so', async () => {
    const changed = join(root, 'changed');
    const other = rows.map((row, i) => (i === 7 ? { ...row, text: 'changed' } : row));
    await tokenizeCorpus({ rows: other, tokenizer, outputFolder: changed, workers: 0, tokensPerShard: 500 });
    const otherReader = await TokenShardReader.open(changed);
    const model = await newModel();
    const short = { ...stage, steps: 1 };
    const folder = join(root, 'mismatch');
    await runPretrainStage({ model, data: reader, stage: short, folder, seed: 1 });
    await expect(runPretrainStage({ model, data: otherReader, stage: short, folder, seed: 1 })).rejects.toThrow(
      /data: "/,
    );
    otherReader.close();
    model.dispose();
  });

  it('names the damaged shard when tokens are missing', async () => {
    const damaged = join(root, 'damaged');
    await tokenizeCorpus({ rows, tokenizer, outputFolder: damaged, workers: 0, tokensPerShard: 500 });
    const file = join(damaged, 'shard-00001.tokens.bin');
    const content = await readFile(file);
    await writeFile(file, content.subarray(0, content.length - 2));
    const damagedReader = await TokenShardReader.open(damaged);
    const model = await newModel();
    const run = runPretrainStage({ model, data: damagedReader, stage, folder: join(root, 'x'), seed: 1 });
    await expect(run).rejects.toThrow(/shard-00001\.tokens\.bin is damaged/);
    damagedReader.close();
    model.dispose();
  });
});
