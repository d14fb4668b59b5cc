/**
 * A whole pipeline in a quarter of an hour on four cores: real text (the documentation and source in this workspace's
 * node_modules), a decoder of a few million parameters, a context of 256 that grows to 1,024 and 2,048.
 *
 * Why these sizes: with a budget of a few million tokens, a smaller model on more tokens beat a larger one on fewer. The first
 * stage is rich in repetition and retrieval: without it the model never learns to look back at this budget, with it
 * retrieval is there within the first million tokens. Planted values are words, since four digits were never learned in
 * this time. docs/log.md has the runs that led here.
 */
import { defineRecipe } from '../recipe/define-recipe.js';

const optimizer = { beta1: 0.9, beta2: 0.98, weightDecay: 0.01 };
const peak = 2e-3;

export const quickstart = defineRecipe({
  name: 'quickstart',
  description: 'Real text to a served long-context model in a quarter of an hour on four cores',
  seed: 1,
  curation: {
    seed: 1,
    sources: [
      {
        type: 'folder',
        name: 'documentation',
        path: 'node_modules/.pnpm',
        include: ['**/*.md', '**/*.mdx', '**/*.rst'],
        maximumFileBytes: 200_000,
      },
      {
        type: 'folder',
        name: 'source-code',
        path: 'node_modules/.pnpm',
        include: ['**/*.d.ts', '**/*.ts', '**/*.js', '**/*.mjs', '**/*.cjs'],
        exclude: ['**/*.min.js'],
        maximumFileBytes: 200_000,
        byteBudget: 40_000_000,
      },
      { type: 'mathProblems', name: 'maths', documents: 9000, difficulty: [1], heldoutFraction: 0.05 },
    ],
    heldout: { fraction: 0.05 },
    mixture: { targets: { documentation: 0.3, code: 0.45, maths: 0.25 }, weightCurve: 'fineweb2', maximumRepeats: 8 },
  },
  tokenizer: { vocabularySize: 4096, preTokenizer: 'llama3-single-digits', trainingBytesPerDomain: 4_000_000 },
  generatedDocuments: [
    { type: 'repetition', domain: 'repetition', documents: 9000, tokens: [40, 250] },
    { type: 'retrieval', domain: 'lookup', documents: 4000, tokens: [150, 250], facts: [2, 4], questions: 4 },
    { type: 'retrieval', domain: 'retrieval', documents: 4000, tokens: [90, 250], facts: [1, 2], questions: 2 },
    { type: 'retrieval', domain: 'retrieval-1024', documents: 400, tokens: [300, 1024], facts: [2, 8], questions: 8 },
    { type: 'retrieval', domain: 'retrieval-2048', documents: 250, tokens: [600, 2048], facts: [2, 12], questions: 12 },
  ],
  model: { hiddenSize: 192, intermediateSize: 512, layers: 6, queryHeads: 6, keyValueHeads: 3, ropeBase: 10_000 },
  pretrain: {
    stages: [
      {
        name: 'broad-copying',
        contextLength: 256,
        tokensPerStep: 2048,
        tokens: 1_000_000,
        learningRate: { type: 'warmupStableDecay', peak, warmup: { steps: 50 } },
        mixture: { repetition: { share: 0.5 }, lookup: { share: 0.3 }, retrieval: { share: 0.2 } },
        optimizer,
      },
      {
        name: 'broad',
        contextLength: 256,
        tokensPerStep: 2048,
        tokens: 1_800_000,
        learningRate: { type: 'warmupStableDecay', peak },
        mixture: {
          documentation: { share: 0.15 },
          code: { share: 0.3 },
          maths: { share: 0.2 },
          repetition: { share: 0.15 },
          lookup: { share: 0.1 },
          retrieval: { share: 0.1 },
        },
        optimizer,
      },
      {
        name: 'anneal',
        contextLength: 256,
        tokensPerStep: 2048,
        tokens: 1_200_000,
        learningRate: { type: 'warmupStableDecay', peak, decay: { fraction: 1 }, final: peak / 10 },
        mixture: {
          documentation: { share: 0.2, topFraction: { start: 1, end: 0.5 } },
          code: { share: 0.25, topFraction: { start: 1, end: 0.3 } },
          maths: { share: 0.3 },
          repetition: { share: 0.05 },
          lookup: { share: 0.1 },
          retrieval: { share: 0.1 },
        },
        optimizer,
      },
    ],
  },
  extend: {
    stages: [
      {
        name: 'extend-1024',
        contextLength: 1024,
        tokensPerStep: 4096,
        tokens: 500_000,
        rope: { base: 80_000 },
        maximumPositions: 1024,
        learningRate: { type: 'warmupStableDecay', peak: 6e-4, warmup: { steps: 10 } },
        mixture: {
          'retrieval-1024': { share: 0.4 },
          repetition: { share: 0.1 },
          code: { share: 0.2, minimumDocumentTokens: 512 },
          documentation: { share: 0.15, minimumDocumentTokens: 512 },
          maths: { share: 0.15 },
        },
        optimizer,
      },
      {
        name: 'extend-2048',
        contextLength: 2048,
        tokensPerStep: 4096,
        tokens: 500_000,
        rope: { base: 200_000 },
        maximumPositions: 2048,
        learningRate: { type: 'warmupStableDecay', peak: 6e-4, decay: { fraction: 1 }, final: 6e-5 },
        mixture: {
          'retrieval-2048': { share: 0.4 },
          repetition: { share: 0.05 },
          code: { share: 0.2, minimumDocumentTokens: 1024 },
          documentation: { share: 0.15, minimumDocumentTokens: 1024 },
          maths: { share: 0.2 },
        },
        optimizer,
      },
    ],
  },
  sft: {
    problems: 6000,
    heldOutProblems: 64,
    stage: { learningRate: 5e-4, epochs: 1, tokensPerStep: 2048, contextLength: 256, optimizer: { beta2: 0.98 } },
  },
  dpo: {
    problems: 256,
    samplesPerPrompt: 4,
    maximumPairs: 200,
    stage: {
      learningRate: 2e-5,
      epochs: 1,
      pairsPerStep: 16,
      contextLength: 256,
      beta: 0.1,
      chosenLikelihoodWeight: 0.1,
    },
  },
  ppo: {
    problems: 4000,
    seeds: [1, 2, 3],
    stage: {
      learningRate: 1e-4,
      iterations: 40,
      promptsPerIteration: 64,
      samplesPerPrompt: 2,
      maximumNewTokens: 40,
      updateEpochs: 2,
      minibatches: 2,
      klCoefficient: 0.01,
      valueTrunk: 'detached',
      optimizer: { beta2: 0.98 },
    },
  },
  maths: { difficulty: [1], heldoutFraction: 0.05, maximumNewTokens: 40 },
  evaluation: {
    tokensPerDomain: 50_000,
    needle: { lengths: [256, 512, 1024, 2048], depths: [0, 0.25, 0.5, 0.75, 1], samples: 8 },
    mathProblems: 300,
  },
});
