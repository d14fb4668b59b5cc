import { describe, expect, it } from 'vitest';
import { stageOf, tracedDocuments } from '../../test/synthetic-documents';
import { BatchPacker, type BatchPackerState } from './batch-packer';
import type { TokenDocumentSource } from './document-source';
import { ignoredTarget, type MicroBatch } from './micro-batch';
import type { PretrainStage, PretrainStageInput } from '../stage/stage';

const beginToken = 16_777_215;
const source = tracedDocuments(
  Array.from({ length: 300 }, (_, i) => ({ length: 3 + ((i * 53) % 140), domain: i % 4 === 0 ? 'code' : 'text' })),
);
const mixture = { text: { share: 2 }, code: { share: 1 } };

const packer = (
  stage: PretrainStage,
  from: TokenDocumentSource = source,
  begin: number | undefined = beginToken,
): BatchPacker =>
  new BatchPacker({ source: from, stage, seed: 3, prependBeginToken: begin !== undefined, beginToken: begin });

const batches = async (stage: PretrainStage, count: number, begin?: number | null): Promise<MicroBatch[]> => {
  const from = begin === null ? new BatchPacker({ source, stage, seed: 3, prependBeginToken: false }) : packer(stage);
  const found: MicroBatch[] = [];
  for (let i = 0; i < count; i++) found.push(await from.next(0));
  return found;
};

/** Each packed piece as its inputs and targets. */
const pieces = ({ batch, targets }: MicroBatch): { inputs: number[]; targets: number[]; positions: number[] }[] =>
  Array.from({ length: batch.cumulativeLengths.length - 1 }, (_, i) => {
    const [start, end] = [batch.cumulativeLengths[i], batch.cumulativeLengths[i + 1]];
    return {
      inputs: [...batch.tokens.subarray(start, end)],
      targets: [...targets.subarray(start, end)],
      positions: [...batch.positions.subarray(start, end)],
    };
  });

const shapes: Partial<PretrainStageInput>[] = [
  { contextLength: 16, tokensPerStep: 64 },
  { contextLength: 64, tokensPerStep: 64 },
  { contextLength: 33, tokensPerStep: 100 },
  { contextLength: 128, tokensPerStep: 1024, microBatchTokens: 512 },
  { contextLength: 16, tokensPerStep: 64, packingLookahead: 1 },
];

describe.each(shapes)('packing %j', (shape) => {
  const stage = stageOf({ ...shape, mixture });

  it('fills every micro-batch to the token, and no piece crosses a document or exceeds the context', async () => {
    for (const batch of await batches(stage, 60)) {
      expect(batch.batch.tokens).toHaveLength(stage.microBatchTokens);
      expect(batch.batch.cumulativeLengths[0]).toBe(0);
      expect(batch.batch.cumulativeLengths.at(-1)).toBe(stage.microBatchTokens);
      expect(batch.targetCount).toBe(stage.microBatchTokens);
      for (const piece of pieces(batch)) {
        expect(piece.inputs.length).toBeLessThanOrEqual(stage.contextLength);
        expect(piece.positions).toEqual(piece.inputs.map((_, i) => i));
        const document = Math.floor(piece.targets[0] / 4096);
        piece.targets.forEach((target, i) => {
          expect(Math.floor(target / 4096)).toBe(document);
          expect(target).toBe(piece.targets[0] + i);
          // the input before a document's first token is the begin token, else the token before
          expect(piece.inputs[i]).toBe(target % 4096 === 0 ? beginToken : target - 1);
        });
      }
    }
  });

  it('has every token of every document as a target once an epoch, none lost at a border', async () => {
    const single = stageOf({ ...shape, mixture: { code: { share: 1 } } });
    const packed = packer(single);
    const seen = new Map<number, number>();
    const count = (target: number): unknown => seen.set(target, (seen.get(target) ?? 0) + 1);
    for (let i = 0; i < 20_000 / single.microBatchTokens; i++) (await packed.next(0)).targets.forEach(count);
    // what waits in the pool is drawn, but not packed yet
    for (const [, document, start, length] of packed.state.pool) {
      for (let i = 0; i < length; i++) count(document * 4096 + start + i);
    }
    const codeDocuments = Array.from({ length: 75 }, (_, i) => source.documentLength(4 * i));
    expect(seen.size).toBe(codeDocuments.reduce((sum, length) => sum + length, 0));
    const times = [...seen.values()];
    expect(Math.min(...times)).toBeGreaterThanOrEqual(3);
    expect(Math.max(...times) - Math.min(...times)).toBeLessThanOrEqual(1);
  });

  it('continues exactly from JSON after any batch', async () => {
    const reference = await batches(stage, 40);
    for (const at of [1, 7, 39]) {
      const before = packer(stage);
      for (let i = 0; i < at; i++) await before.next(0);
      const resumed = packer(stage);
      const text = JSON.stringify(before.state);
      expect(text.length).toBeLessThan(4096);
      resumed.state = JSON.parse(text) as BatchPackerState;
      for (let i = at; i < 40; i++) expect(await resumed.next(0)).toEqual(reference[i]);
    }
  });
});

describe('packing', () => {
  it('names the domain of each piece', async () => {
    for (const batch of await batches(stageOf({ mixture }), 20)) {
      pieces(batch).forEach(({ targets }, i) => {
        const document = Math.floor(targets[0] / 4096);
        expect(batch.pieceDomains[i]).toBe(document % 4 === 0 ? 1 : 0);
      });
    }
  });

  it('predicts from the second token on without a begin token', async () => {
    for (const batch of await batches(stageOf({ mixture }), 20, null)) {
      for (const { inputs, targets } of pieces(batch)) {
        inputs.forEach((input, i) => expect(targets[i]).toBe(input + 1));
        expect(targets[0] % 4096).toBeGreaterThan(0);
      }
    }
  });

  it('keeps the shares and counts what was packed, also over few batches of long documents', async () => {
    const from = tracedDocuments(
      Array.from({ length: 200 }, (_, i) => ({
        length: i % 4 === 0 ? 512 : 60 + i,
        domain: i % 4 === 0 ? 'code' : 'text',
      })),
    );
    const stage = stageOf({ contextLength: 512, tokensPerStep: 512, mixture });
    const packed = packer(stage, from);
    const tokens = [0, 0];
    let documents = 0;
    for (let i = 0; i < 30; i++) {
      const batch = await packed.next(0);
      batch.pieceDomains.forEach((domain, piece) => {
        tokens[domain] += batch.batch.cumulativeLengths[piece + 1] - batch.batch.cumulativeLengths[piece];
      });
      documents += pieces(batch).filter(({ inputs }) => inputs[0] === beginToken).length;
    }
    expect(Math.abs(tokens[0] / (30 * 512) - 2 / 3)).toBeLessThan(0.1);
    const { text, code } = packed.packed();
    expect([text.tokens, code.tokens]).toEqual(tokens);
    expect(text.documents + code.documents).toBe(documents);
    expect(code.epochs).toBe(code.tokens / (50 * 512));
  });

  it('cuts fewer documents with a longer look-ahead', async () => {
    const cut = async (packingLookahead: number): Promise<number> => {
      const found = await batches(stageOf({ contextLength: 64, tokensPerStep: 256, mixture, packingLookahead }), 100);
      const starts = found.flatMap(pieces).filter(({ targets }) => (targets[0] % 4096) % 64 !== 0);
      return starts.length;
    };
    const [none, some] = [await cut(1), await cut(64)];
    expect(none).toBeGreaterThan(80);
    expect(some).toBeLessThan(none / 2);
  });

  it('lets no piece starve', async () => {
    // one long document among short ones: best fit alone might leave it waiting
    const from = tracedDocuments([{ length: 16 }, ...Array.from({ length: 50 }, () => ({ length: 4 }))]);
    const stage = stageOf({ contextLength: 16, tokensPerStep: 16 });
    const packed = packer(stage, from);
    let since = 0;
    let longest = 0;
    for (let i = 0; i < 500; i++) {
      const { targets } = await packed.next(0);
      since = targets.some((target) => target < 4096) ? 0 : since + 1;
      longest = Math.max(longest, since);
    }
    expect(longest).toBeLessThan(40); // an epoch is 14 batches, the pool holds another 16
  });

  it('marks only masked targets on request', async () => {
    const from = tracedDocuments([
      { length: 20, lossMask: Uint8Array.from({ length: 20 }, (_, i) => (i >= 10 && i < 15 ? 1 : 0)) },
    ]);
    const stage = stageOf({ lossOn: 'markedTokens', contextLength: 16, tokensPerStep: 40 });
    const { targets, targetCount } = await packer(stage, from).next(0);
    expect(targetCount).toBe(10);
    expect([...targets].filter((target) => target !== ignoredTarget).sort((a, b) => a - b)).toEqual([
      10, 10, 11, 11, 12, 12, 13, 13, 14, 14,
    ]);
  });

  it('refuses a missing mask and a source that contradicts itself', async () => {
    const marked = stageOf({ lossOn: 'markedTokens', mixture });
    await expect(packer(marked).next(0)).rejects.toThrow(/lossOn is markedTokens, but document \d+ has no loss mask/);
    const short: TokenDocumentSource = { ...source, readTokens: () => new Int32Array(2) };
    await expect(packer(stageOf({ mixture }), short).next(0)).rejects.toThrow(/gave 2 tokens instead of/);
    const wrong: TokenDocumentSource = {
      ...source,
      readTokens: (_, start, end) => new Int32Array(end - start).fill(2 ** 25),
    };
    await expect(packer(stageOf({ mixture }), wrong).next(0)).rejects.toThrow(/contains the token id 33554432/);
  });
});
