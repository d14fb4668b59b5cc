/** What the recipe says of itself: sizes, contexts, operations, and that documents of 131,072 tokens can be made. Cost: ten seconds. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { retrievalDocuments } from '@xgen-small/data-curation';
import { parameterCount } from '@xgen-small/model-core';
import { modelFlopsByPart, parsePretrainStage } from '@xgen-small/pretrain';
import { Tokenizer, trainBytePairEncoding, writeTokenizerFolder } from '@xgen-small/tokenizer';
import { describe, expect, it } from 'vitest';
import { initialModelConfig, parseRecipe } from '../recipe/recipe-schema.js';
import { retrievalTemplates, retrievalValues } from '../stages/retrieval-vocabulary.js';
import { smallGpu } from './small-gpu.js';

const recipe = parseRecipe(smallGpu, 'small-gpu');
const config = initialModelConfig(recipe);
const stages = [...recipe.pretrain.stages, ...recipe.extend.stages].map((stage) => parsePretrainStage(stage));

describe('the recipe small-gpu', () => {
  it('asks for the GPU and for bfloat16, and has about 30 million parameters', () => {
    expect(recipe.compute).toMatchObject({ backend: 'cuda', matmulPrecision: 'bfloat16' });
    const { total } = parameterCount(config);
    expect(total).toBeGreaterThan(28e6);
    expect(total).toBeLessThan(32e6);
  });

  it('extends by steps to 131,072 tokens, computing no product again', () => {
    expect(recipe.extend.stages.map(({ contextLength }) => contextLength)).toEqual([8192, 32_768, 131_072]);
    for (const stage of recipe.extend.stages) {
      expect(stage.maximumPositions).toBe(stage.contextLength);
      expect(stage.recompute).toBe('elementwise');
    }
    const bases = [recipe.model.ropeBase, ...recipe.extend.stages.map(({ rope }) => rope!.base)];
    expect(bases).toEqual([...bases].sort((a, b) => a - b));
    expect(Math.max(...recipe.evaluation.needle.lengths)).toBe(131_072);
  });

  it('needs the operations that its comment says: under ten minutes, also at a fifth of the peak', () => {
    let operations = 0;
    for (const { contextLength, steps, tokensPerStep } of stages) {
      const { blocks, outputHead, attention } = modelFlopsByPart(config, contextLength);
      operations += steps * tokensPerStep * (blocks + outputHead + attention);
    }
    expect(stages.reduce((tokens, stage) => tokens + stage.steps * stage.tokensPerStep, 0)).toBeGreaterThan(150e6);
    expect(operations / 6.9e16).toBeGreaterThan(0.95);
    expect(operations / 6.9e16).toBeLessThan(1.05);
    const minutes = (share: number): number => operations / (share * 989e12) / 60;
    expect(minutes(0.35)).toBeLessThan(3.75);
    expect(minutes(0.2)).toBeLessThan(6.25);
  });

  it('repeats no generated domain more than a few times', () => {
    for (const documents of recipe.generatedDocuments) {
      if (!documents.tokens) continue;
      const made = (documents.documents * (documents.tokens[0] + documents.tokens[1])) / 2;
      let drawn = 0;
      for (const { mixture, steps, tokensPerStep } of stages) {
        const share = (name: string): number => {
          const value = mixture[name]?.share ?? 0;
          return typeof value === 'number' ? value : (value.start + value.end) / 2;
        };
        const sum = Object.keys(mixture).reduce((total, name) => total + share(name), 0);
        drawn += (steps * tokensPerStep * share(documents.domain)) / sum;
      }
      expect(drawn, documents.domain).toBeGreaterThan(0);
      expect(drawn / made, documents.domain).toBeLessThan(6);
    }
  });

  it('can make documents long enough for the longest context', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'xgen-small-gpu-'));
    try {
      const sources = join(import.meta.dirname, '../stages');
      const texts = await Promise.all((await readdir(sources)).map((name) => readFile(join(sources, name), 'utf8')));
      const definition = await trainBytePairEncoding(texts, {
        vocabularySize: 2048,
        preTokenizer: recipe.tokenizer.preTokenizer,
      });
      await writeTokenizerFolder(folder, definition);
      const tokenizer = await Tokenizer.load(folder);
      const generated = recipe.generatedDocuments.filter((documents) => documents.type === 'retrieval');
      const { tokens, fillWhole, facts, questions } = generated.at(-1)!;
      if (tokens === undefined) throw new Error('Documents without a length.');
      let calls = 0;
      const measure = (text: string): number => {
        if (text.length > 100_000) calls++;
        return tokenizer.encode(text).length;
      };
      const common = {
        seed: 1,
        count: 1,
        filler: texts,
        measure,
        templates: retrievalTemplates,
        values: retrievalValues,
      };
      const length = [tokens[0] - 1, tokens[1] - 1] as const;
      const [document] = retrievalDocuments({ ...common, length, fillWhole, facts, questions });
      // With the token that ends it; training takes a context of which the longest document falls short by up to a thousandth.
      const made = tokenizer.encode(document.text).length + 1;
      expect(made).toBeLessThanOrEqual(131_072);
      expect(made).toBeGreaterThanOrEqual(131_072 - 128);
      expect(calls).toBeLessThan(200);
      expect(document.facts.length).toBeGreaterThanOrEqual(8);
      // The shortest ones have room for the most facts, even in this tokenizer's longer counts.
      for (const shorter of generated) {
        if (shorter.tokens === undefined) continue;
        const most = [shorter.facts[1], shorter.facts[1]] as const;
        const options = { ...common, length: shorter.tokens[0] - 1, facts: most, questions: shorter.questions };
        expect([...retrievalDocuments(options)][0].facts, shorter.domain).toHaveLength(most[0]);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
