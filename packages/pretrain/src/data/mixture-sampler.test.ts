import { describe, expect, it } from 'vitest';
import { stageOf, tracedDocuments } from '../../test/synthetic-documents';
import type { TokenDocumentSource } from './document-source';
import { MixtureSampler, type SampledPiece } from './mixture-sampler';
import type { PretrainStage } from '../stage/stage';

const sampler = (source: TokenDocumentSource, stage: PretrainStage, seed = 1): MixtureSampler =>
  new MixtureSampler({ source, stage, seed, prependBeginToken: true });

const draw = (from: MixtureSampler, count: number, progress = 0): SampledPiece[] =>
  Array.from({ length: count }, () => from.next(progress));

/** Lengths from 16 to 215 in three domains of very different sizes. */
const mixed = tracedDocuments(
  Array.from({ length: 600 }, (_, i) => ({
    length: 16 + ((i * 37) % 200),
    domain: i % 20 === 0 ? 'math' : i % 3 === 0 ? 'code' : 'text',
    quality: ((i * 7919) % 600) / 600,
  })),
);

describe('shares', () => {
  it('holds in tokens for every prefix, to within a piece a domain', () => {
    const stage = stageOf({ mixture: { text: { share: 5 }, code: { share: 3 }, math: { share: 2 } } });
    const found = sampler(mixed, stage);
    const tokens = [0, 0, 0];
    for (let i = 0; i < 20_000; i++) {
      const { domain, length } = found.next(0);
      tokens[domain] += length;
      const total = tokens[0] + tokens[1] + tokens[2];
      [0.5, 0.3, 0.2].forEach((share, d) => expect(Math.abs(tokens[d] - share * total)).toBeLessThan(3 * 16));
    }
  });

  it('moves with the learning rate', () => {
    const stage = stageOf({
      mixture: { text: { share: { start: 1, end: 0 } }, code: { share: { start: 0, end: 1 } } },
    });
    const found = sampler(mixed, stage);
    expect(new Set(draw(found, 500, 0).map(({ domain }) => domain))).toEqual(new Set([0]));
    const half = draw(found, 4000, 0.5).slice(1000);
    const text = half.filter(({ domain }) => domain === 0).reduce((sum, { length }) => sum + length, 0);
    expect(text / half.reduce((sum, { length }) => sum + length, 0)).toBeCloseTo(0.5, 1);
    expect(new Set(draw(found, 500, 1).map(({ domain }) => domain))).toEqual(new Set([1]));
  });
});

describe('passes', () => {
  it('reads every token of the domain exactly once before any comes again', () => {
    const stage = stageOf({ mixture: { code: { share: 1 } } });
    const found = sampler(mixed, stage);
    const codeTokens = Array.from({ length: 600 }, (_, i) => i)
      .filter((i) => i % 20 !== 0 && i % 3 === 0)
      .map((i) => ({ document: i, length: mixed.documentLength(i) }));
    const total = codeTokens.reduce((sum, { length }) => sum + length, 0);
    for (let pass = 0; pass < 3; pass++) {
      const seen = new Set<string>();
      let tokens = 0;
      while (tokens < total) {
        const piece = found.next(0);
        expect(piece.start % 16).toBe(0);
        seen.add(`${piece.document}/${piece.start}`);
        tokens += piece.length;
      }
      expect(tokens).toBe(total);
      expect(seen.size).toBe(codeTokens.reduce((sum, { length }) => sum + Math.ceil(length / 16), 0));
    }
    expect(found.state.code).toMatchObject({ tokens: 3 * total, documents: 3 * codeTokens.length });
    expect(found.eligibleTokens(0)).toBe(total);
  });

  it('takes a new order in each pass, and another for another seed', () => {
    const stage = stageOf({ mixture: { math: { share: 1 } } });
    const found = sampler(mixed, stage);
    const size = 30 * 1; // 30 documents; their pieces vary, so compare the first 30 of each pass
    const first = draw(found, size).map(({ document }) => document);
    const again = draw(sampler(mixed, stage), size).map(({ document }) => document);
    const other = draw(sampler(mixed, stage, 2), size).map(({ document }) => document);
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });
});

describe('weights', () => {
  const weighted = tracedDocuments(
    [8, 4, 3, 1, 0.5, 0].flatMap((weight) => Array.from({ length: 10 }, () => ({ length: 16, weight }))),
  );
  const countsByWeight = (pieces: SampledPiece[]): number[] => {
    const counts = new Array<number>(6).fill(0);
    for (const { document } of pieces) counts[Math.floor(document / 10)]++;
    return counts;
  };

  it('come in proportion, and exactly so over whole periods', () => {
    // One period of 16 passes at rates 1, 1/2, 3/8, 1/8, 1/16, 0: 160 + 80 + 60 + 20 + 10 pieces.
    const counts = countsByWeight(draw(sampler(weighted, stageOf({})), 330 * 3));
    expect(counts).toEqual([480, 240, 180, 60, 30, 0]);
  });

  it('spaces a document evenly: of weight 1 to 8, once in every 8 passes', () => {
    const found = sampler(weighted, stageOf({}));
    const passes = new Map<number, number[]>();
    for (let i = 0; i < 3300; i++) {
      const { document } = found.next(0);
      passes.set(document, [...(passes.get(document) ?? []), found.state.text.pass]);
    }
    for (let document = 30; document < 40; document++) {
      const at = passes.get(document)!;
      for (let i = 1; i < at.length; i++) expect(at[i] - at[i - 1]).toBe(8);
    }
  });

  it('are ignored on request', () => {
    const counts = countsByWeight(draw(sampler(weighted, stageOf({ documentWeights: false })), 600));
    expect(counts).toEqual([100, 100, 100, 100, 100, 100]);
  });
});

describe('quality', () => {
  const scored = tracedDocuments(
    Array.from({ length: 200 }, (_, i) => ({ length: 16, quality: ((i * 77) % 200) / 200 })),
  );
  const qualities = (pieces: SampledPiece[]): number[] =>
    pieces.map(({ document }) => scored.documentQuality(document));

  it('draws only the best fraction, shrinking as the rate falls', () => {
    const stage = stageOf({ mixture: { text: { share: 1, topFraction: { start: 1, end: 0.1 } } } });
    const found = sampler(scored, stage);
    expect(Math.min(...qualities(draw(found, 200, 0)))).toBe(0);
    expect(Math.min(...qualities(draw(found, 400, 0.5)))).toBeCloseTo(1 - 0.55, 6);
    const best = qualities(draw(found, 400, 1));
    expect(Math.min(...best)).toBeCloseTo(0.9, 6);
    expect(new Set(best).size).toBe(20);
  });

  it('leaves out what scores below the minimum', () => {
    const stage = stageOf({ mixture: { text: { share: 1, minimumQuality: 0.75 } } });
    expect(new Set(qualities(draw(sampler(scored, stage), 500)))).toEqual(
      new Set(Array.from({ length: 50 }, (_, i) => (150 + i) / 200)),
    );
  });
});

describe('state', () => {
  it('continues exactly from JSON at any point', () => {
    const stage = stageOf({
      mixture: { text: { share: 5 }, code: { share: 3, topFraction: { start: 1, end: 0.3 } }, math: { share: 2 } },
    });
    const whole = sampler(mixed, stage);
    const reference = draw(whole, 3000, 0.4);
    for (const at of [0, 1, 17, 1000, 2999]) {
      const before = sampler(mixed, stage);
      draw(before, at, 0.4);
      const resumed = sampler(mixed, stage);
      resumed.state = JSON.parse(JSON.stringify(before.state)) as MixtureSampler['state'];
      expect(draw(resumed, 3000 - at, 0.4)).toEqual(reference.slice(at));
    }
  });
});

describe('errors', () => {
  const code = (run: () => unknown): unknown => {
    try {
      run();
    } catch (error) {
      return [(error as { code: string }).code, (error as Error).message];
    }
    throw new Error('Nothing was thrown.');
  };

  it('names what does not fit the data', () => {
    expect(code(() => sampler(mixed, stageOf({ mixture: { prose: { share: 1 } } })))).toEqual([
      'UNKNOWN_DOMAIN',
      'mixture: the data has no domain "prose". Its domains are "math", "text", "code"; rename the entry or remove it.',
    ]);
    expect(code(() => sampler(mixed, stageOf({ minimumDocumentTokens: 5000 })))).toEqual([
      'EMPTY_DOMAIN',
      expect.stringMatching(
        /mixture\.text: none of its \d+ documents is eligible \(\d+ are shorter than 5000 tokens, 0 /,
      ),
    ]);
    expect(code(() => sampler(mixed, stageOf({ contextLength: 1024, tokensPerStep: 1024 })))).toEqual([
      'CONTEXT_TOO_LONG',
      expect.stringMatching(/contextLength: 1024 exceeds the longest eligible document \(\d+ tokens\)/),
    ]);
  });

  it('takes a context that the longest document falls short of by a thousandth, and no more', () => {
    const long = tracedDocuments([{ length: 20 }, { length: 8184 }]);
    const stage = (contextLength: number): PretrainStage =>
      stageOf({ contextLength, tokensPerStep: contextLength, mixture: { text: { share: 1 } } });
    expect(() => sampler(long, stage(8192))).not.toThrow();
    expect(code(() => sampler(long, stage(8193)))).toEqual(['CONTEXT_TOO_LONG', expect.any(String)]);
  });

  it('refuses more pieces than can be ordered', () => {
    const huge: TokenDocumentSource = {
      ...tracedDocuments([{ length: 20 }, { length: 20 }]),
      documentLength: () => 2 ** 35,
    };
    expect(code(() => sampler(huge, stageOf({})))).toEqual([
      'INVALID_DATA',
      'Domain text has more than 2147483648 pieces. Split the domain in two, or raise contextLength.',
    ]);
  });

  it('refuses to repeat a domain more often than allowed, counting the shrinking best fraction', () => {
    const math = Array.from({ length: 30 }, (_, i) => mixed.documentLength(20 * i)).reduce((sum, n) => sum + n, 0);
    const epochs = (10 * 64 * 0.5) / math;
    const stage = (maximumEpochs: number, topFraction?: number): PretrainStage =>
      stageOf({ mixture: { text: { share: 1 }, math: { share: 1, maximumEpochs, topFraction } } });
    expect(() => sampler(mixed, stage(epochs * 1.01))).not.toThrow();
    expect(code(() => sampler(mixed, stage(epochs * 0.99)))).toEqual(['TOO_MANY_EPOCHS', expect.any(String)]);
    expect(code(() => sampler(mixed, stage(epochs * 1.5, 0.5)))).toEqual(['TOO_MANY_EPOCHS', expect.any(String)]);
  });
});
