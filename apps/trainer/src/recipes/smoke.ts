/**
 * The same pipeline as quickstart, small enough to run in a test: every stage, every file, no claim about quality.
 */
import { defineRecipe } from '../recipe/define-recipe.js';

export const smoke = defineRecipe({
  name: 'smoke',
  description: 'Every stage of the pipeline in about a minute, for tests; the model learns next to nothing',
  seed: 1,
  curation: {
    seed: 1,
    sources: [
      {
        type: 'folder',
        name: 'node-modules',
        path: 'node_modules/.pnpm',
        include: ['**/*.md', '**/*.d.ts', '**/*.js'],
        exclude: ['**/*.min.js'],
        maximumFileBytes: 60_000,
        byteBudget: 1_500_000,
      },
      { type: 'mathProblems', name: 'maths', documents: 120, difficulty: [1], heldoutFraction: 0.05 },
    ],
    heldout: { fraction: 0.1 },
    mixture: { targets: { documentation: 0.3, code: 0.45, maths: 0.25 }, maximumRepeats: 8 },
  },
  tokenizer: { vocabularySize: 512, preTokenizer: 'llama3-single-digits', trainingBytesPerDomain: 150_000 },
  generatedDocuments: [
    { type: 'repetition', domain: 'repetition', documents: 60, tokens: [40, 120] },
    { type: 'retrieval', domain: 'retrieval', documents: 30, tokens: [120, 250], facts: [1, 1], questions: 1 },
    { type: 'retrieval', domain: 'retrieval-512', documents: 20, tokens: [200, 512], facts: [1, 2], questions: 2 },
  ],
  model: { hiddenSize: 32, intermediateSize: 64, layers: 2, queryHeads: 4, keyValueHeads: 2 },
  pretrain: {
    stages: [
      {
        name: 'broad',
        contextLength: 256,
        tokensPerStep: 1024,
        steps: 20,
        learningRate: { type: 'warmupStableDecay', peak: 3e-3, warmup: { steps: 5 } },
        mixture: {
          documentation: { share: 0.2 },
          code: { share: 0.3 },
          maths: { share: 0.2 },
          repetition: { share: 0.2 },
          retrieval: { share: 0.1 },
        },
      },
      {
        name: 'anneal',
        contextLength: 256,
        tokensPerStep: 1024,
        steps: 10,
        learningRate: { type: 'warmupStableDecay', peak: 3e-3, decay: { fraction: 1 }, final: 3e-4 },
        mixture: {
          documentation: { share: 0.3, topFraction: 0.5 },
          code: { share: 0.3, topFraction: 0.5 },
          maths: { share: 0.4 },
        },
      },
    ],
  },
  extend: {
    stages: [
      {
        name: 'extend-512',
        contextLength: 512,
        tokensPerStep: 1024,
        steps: 5,
        rope: { base: 40_000 },
        maximumPositions: 512,
        learningRate: { type: 'warmupStableDecay', peak: 1e-3, decay: { fraction: 1 }, final: 1e-4 },
        mixture: { 'retrieval-512': { share: 0.5 }, code: { share: 0.5 } },
      },
    ],
  },
  sft: {
    problems: 120,
    heldOutProblems: 8,
    stage: { learningRate: 1e-3, epochs: 1, tokensPerStep: 1024, contextLength: 256 },
  },
  dpo: {
    problems: 32,
    samplesPerPrompt: 2,
    maximumPairs: 8,
    heldOutPairs: 1,
    stage: { learningRate: 1e-4, epochs: 1, pairsPerStep: 4, contextLength: 256 },
  },
  ppo: {
    problems: 32,
    seeds: [1, 2],
    stage: {
      learningRate: 1e-4,
      iterations: 2,
      promptsPerIteration: 8,
      maximumNewTokens: 16,
      updateEpochs: 1,
      minibatches: 1,
      valueTrunk: 'detached',
    },
  },
  maths: { difficulty: [1], heldoutFraction: 0.05, maximumNewTokens: 16 },
  evaluation: {
    tokensPerDomain: 2000,
    needle: { lengths: [256, 512], depths: [0, 1], samples: 2 },
    mathProblems: 8,
    mathSamples: 2,
  },
});
