// Runs the three stages one after the other in <folder>, printing a line for each progress event. Killed and started
// again by kill.test.ts; with --whole it is the uninterrupted run.
import { join } from 'node:path';
import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel } from '@xgen-small/model-core';
import {
  runDirectPreferenceOptimization,
  runProximalPolicyOptimization,
  runSupervisedFineTuning,
} from '../../dist/index.js';
import { sumConversation, sums, tinyModel, tinyTokenizer } from './tiny.mjs';

const folder = process.argv[2];
await initializeBackend();

const question = (content) => [{ role: 'user', content }];
const answer = (content) => [{ role: 'assistant', content }];
const common = {
  tokenizer: tinyTokenizer,
  seed: 3,
  checkpoints: { everySteps: 2 },
  onProgress: ({ task, completed }) => process.stdout.write(`${task} ${completed}\n`),
};

let model = tinyModel();
const sft = await runSupervisedFineTuning({
  ...common,
  model,
  folder: join(folder, 'sft'),
  stage: { epochs: 2, tokensPerStep: 60, contextLength: 32, learningRate: 0.01 },
  conversations: sums(12).map(sumConversation),
});
model.dispose();

model = await CausalLanguageModel.load(sft.modelFolder);
const dpo = await runDirectPreferenceOptimization({
  ...common,
  model,
  folder: join(folder, 'dpo'),
  stage: { epochs: 2, pairsPerStep: 4, contextLength: 32, learningRate: 0.001 },
  preferences: sums(8).map(({ question: text, answer: right }) => ({
    prompt: question(text),
    chosen: answer(`#### ${right}`),
    rejected: answer(`${right}`),
  })),
});
model.dispose();

model = await CausalLanguageModel.load(dpo.modelFolder);
await runProximalPolicyOptimization({
  ...common,
  model,
  folder: join(folder, 'ppo'),
  checkpoints: { everySteps: 1 },
  stage: {
    iterations: 4,
    promptsPerIteration: 6,
    maximumNewTokens: 6,
    learningRate: 0.003,
    minibatches: 2,
    valueTrunk: 'separate',
    adaptiveKl: { target: 0.5, horizon: 50 },
  },
  prompts: sums(10).map(({ question: text, answer: right }) => ({ prompt: question(text), answer: right })),
  reward: (_prompt, { text }) => text.replace(/\D/g, '').length / 6,
});
model.dispose();
