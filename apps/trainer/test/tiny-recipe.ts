/** Every stage at the smallest size that still has several steps of each: for devices that are emulated. */
import { join } from 'node:path';
import type { Recipe, RecipeInput } from '../src/recipe/recipe-schema.js';
import { repository } from './xgen.js';

export function tinyRecipe(compute: Partial<Recipe['compute']>): RecipeInput {
  const learningRate = { type: 'warmupStableDecay', peak: 3e-3 } as const;
  return {
    name: 'tiny',
    seed: 1,
    compute,
    curation: {
      seed: 1,
      sources: [
        {
          type: 'folder',
          name: 'node-modules',
          path: join(repository, 'node_modules/.pnpm'),
          include: ['**/*.md', '**/*.d.ts'],
          maximumFileBytes: 30_000,
          byteBudget: 500_000,
        },
        { type: 'mathProblems', name: 'maths', documents: 60, difficulty: [1], heldoutFraction: 0.05 },
      ],
      heldout: { fraction: 0.1 },
      mixture: { targets: { documentation: 0.3, code: 0.4, maths: 0.3 }, maximumRepeats: 8 },
    },
    tokenizer: { vocabularySize: 512, trainingBytesPerDomain: 50_000 },
    generatedDocuments: [
      { type: 'repetition', domain: 'repetition', documents: 20, tokens: [40, 90] },
      { type: 'retrieval', domain: 'retrieval', documents: 10, tokens: [150, 256], facts: [1, 2], questions: 1 },
    ],
    model: {
      hiddenSize: 32,
      intermediateSize: 64,
      layers: 2,
      queryHeads: 4,
      keyValueHeads: 2,
      initialStandardDeviation: 0.08,
    },
    pretrain: {
      stages: [
        {
          name: 'broad',
          contextLength: 128,
          tokensPerStep: 256,
          microBatchTokens: 128,
          steps: 6,
          learningRate,
          mixture: { documentation: { share: 0.4 }, code: { share: 0.4 }, repetition: { share: 0.2 } },
        },
        {
          name: 'anneal',
          contextLength: 128,
          tokensPerStep: 256,
          steps: 4,
          learningRate: { ...learningRate, decay: { fraction: 1 }, final: 3e-4 },
          mixture: { maths: { share: 1 } },
        },
      ],
    },
    extend: {
      stages: [
        {
          name: 'longer',
          contextLength: 256,
          tokensPerStep: 256,
          steps: 4,
          rope: { base: 40_000 },
          maximumPositions: 256,
          learningRate,
          mixture: { retrieval: { share: 0.5 }, code: { share: 0.5 } },
          recompute: 'allButAttention',
        },
      ],
    },
    sft: {
      problems: 16,
      heldOutProblems: 4,
      stage: { learningRate: 1e-3, epochs: 1, tokensPerStep: 256, contextLength: 128, optimizer: { type: 'muon' } },
    },
    dpo: {
      problems: 40,
      samplesPerPrompt: 2,
      maximumPairs: 6,
      heldOutPairs: 1,
      stage: { learningRate: 1e-4, epochs: 1, pairsPerStep: 2, contextLength: 128 },
    },
    ppo: {
      problems: 4,
      seeds: [1],
      stage: {
        learningRate: 1e-3,
        iterations: 2,
        promptsPerIteration: 4,
        maximumNewTokens: 8,
        updateEpochs: 2,
        minibatches: 1,
        temperature: 1.1,
        // Rewards are all 0 for so small a model; the penalty gives the update something to do.
        truncationPenalty: -1,
        whitenAdvantages: false,
        valueTrunk: 'separate',
      },
    },
    maths: { difficulty: [1], heldoutFraction: 0.05, maximumNewTokens: 16 },
    evaluation: {
      tokensPerDomain: 256,
      needle: { lengths: [128, 256], depths: [0.5], samples: 1 },
      mathProblems: 2,
      mathSamples: 1,
    },
  };
}
