/**
 * A whole pipeline on a laptop's processor: real text (the documentation and source in this workspace's
 * node_modules), a decoder of 1.7 million parameters, a context of 256 that grows to 1,024 and 2,048.
 *
 * Why these sizes: at a few million tokens a smaller model on more tokens beats a larger one on fewer, in loss and in looking things
 * up. The first stage is made of repetition and look-ups: without it the model never learns to look back at this budget. Matrices
 * start at about 1/√width, not 0.02, for the same reason. Demonstrations are few and prompts many, so that PPO has something to
 * teach. docs/log.md has the runs that led here, the failed ones too.
 */
import { defineRecipe } from '../recipe/define-recipe.js';
import { workspaceSources } from './workspace-sources.js';

const optimizer = { beta1: 0.9, beta2: 0.98, weightDecay: 0 };
const peak = 3e-3;

export const quickstart = defineRecipe({
  name: 'quickstart',
  description: 'Real text to a served long-context model of 1.7 million parameters',
  seed: 1,
  curation: {
    seed: 1,
    sources: [
      ...workspaceSources({ maximumFileBytes: 200_000, codeBytes: 40_000_000 }),
      { type: 'mathProblems', name: 'maths', documents: 9000, difficulty: [1], heldoutFraction: 0.05 },
    ],
    heldout: { fraction: 0.05 },
    mixture: { targets: { documentation: 0.3, code: 0.45, maths: 0.25 }, weightCurve: 'fineweb2', maximumRepeats: 8 },
  },
  tokenizer: { vocabularySize: 4096, preTokenizer: 'llama3-single-digits', trainingBytesPerDomain: 4_000_000 },
  generatedDocuments: [
    { type: 'repetition', domain: 'repetition', documents: 10_000, tokens: [40, 250] },
    { type: 'retrieval', domain: 'lookup', documents: 8000, facts: [1, 6], questions: 6 },
    { type: 'retrieval', domain: 'retrieval', documents: 5000, tokens: [160, 256], facts: [1, 4], questions: 4 },
    { type: 'retrieval', domain: 'retrieval-1024', documents: 400, tokens: [400, 1024], facts: [1, 8], questions: 8 },
    { type: 'retrieval', domain: 'retrieval-2048', documents: 300, tokens: [800, 2048], facts: [1, 8], questions: 8 },
  ],
  model: {
    hiddenSize: 128,
    intermediateSize: 384,
    layers: 6,
    queryHeads: 4,
    keyValueHeads: 2,
    ropeBase: 10_000,
    initialStandardDeviation: 0.08,
    initialEmbeddingStandardDeviation: 0.02,
  },
  pretrain: {
    stages: [
      {
        name: 'broad-copying',
        contextLength: 256,
        tokensPerStep: 2048,
        tokens: 1_700_000,
        learningRate: { type: 'warmupStableDecay', peak, warmup: { steps: 50 } },
        // Code, so that ordinary text of full length is there from the first step.
        mixture: {
          repetition: { share: 0.38 },
          lookup: { share: 0.42 },
          retrieval: { share: 0.15 },
          code: { share: 0.05 },
        },
        optimizer,
      },
      {
        name: 'broad',
        contextLength: 256,
        tokensPerStep: 2048,
        tokens: 2_800_000,
        learningRate: { type: 'warmupStableDecay', peak },
        mixture: {
          documentation: { share: 0.15 },
          code: { share: 0.3 },
          maths: { share: 0.15 },
          repetition: { share: 0.2 },
          lookup: { share: 0.1 },
          retrieval: { share: 0.1 },
        },
        optimizer,
      },
      {
        name: 'anneal',
        contextLength: 256,
        tokensPerStep: 2048,
        tokens: 2_000_000,
        learningRate: { type: 'warmupStableDecay', peak, decay: { fraction: 1 }, final: peak / 10 },
        mixture: {
          documentation: { share: { start: 0.15, end: 0.2 }, topFraction: { start: 1, end: 0.5 } },
          code: { share: { start: 0.3, end: 0.25 }, topFraction: { start: 1, end: 0.4 } },
          maths: { share: { start: 0.15, end: 0.25 } },
          repetition: { share: { start: 0.2, end: 0.1 } },
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
        tokensPerStep: 2048,
        tokens: 450_000,
        rope: { base: 80_000 },
        maximumPositions: 1024,
        learningRate: { type: 'warmupStableDecay', peak: 9e-4, warmup: { steps: 10 } },
        mixture: {
          'retrieval-1024': { share: 0.45 },
          repetition: { share: 0.1 },
          code: { share: 0.2, minimumDocumentTokens: 512 },
          documentation: { share: 0.12, minimumDocumentTokens: 512 },
          maths: { share: 0.13 },
        },
        optimizer,
      },
      {
        name: 'extend-2048',
        contextLength: 2048,
        tokensPerStep: 2048,
        tokens: 750_000,
        rope: { base: 200_000 },
        maximumPositions: 2048,
        learningRate: { type: 'warmupStableDecay', peak: 9e-4, decay: { fraction: 1 }, final: 9e-5 },
        mixture: {
          'retrieval-2048': { share: 0.5 },
          repetition: { share: 0.05 },
          code: { share: 0.2, minimumDocumentTokens: 1024 },
          documentation: { share: 0.12, minimumDocumentTokens: 1024 },
          maths: { share: 0.13 },
        },
        optimizer,
      },
    ],
  },
  sft: {
    problems: 2500,
    heldOutProblems: 64,
    stage: { learningRate: 5e-4, epochs: 1, tokensPerStep: 2048, contextLength: 256, optimizer: { beta2: 0.98 } },
  },
  dpo: {
    problems: 960,
    samplesPerPrompt: 4,
    referenceSolutions: false,
    maximumPairs: 400,
    heldOutPairs: 80,
    stage: {
      // Without a strong pull towards the right answers, DPO at this size pushes both answers down and unlearns sums: docs/log.md.
      learningRate: 1e-4,
      chosenLikelihoodWeight: 1,
      epochs: 1,
      pairsPerStep: 16,
      contextLength: 256,
      beta: 0.1,
      evaluateEverySteps: 4,
    },
  },
  ppo: {
    problems: 5000,
    seeds: [1, 2, 3],
    stage: {
      learningRate: {
        type: 'warmupStableDecay',
        peak: 1e-4,
        warmup: { steps: 5 },
        decay: { fraction: 0.4 },
        final: 1e-5,
      },
      iterations: 56,
      promptsPerIteration: 64,
      samplesPerPrompt: 4,
      maximumNewTokens: 40,
      updateEpochs: 1,
      minibatches: 2,
      klCoefficient: 0.002,
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
