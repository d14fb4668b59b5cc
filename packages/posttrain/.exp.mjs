import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel, RandomGenerator } from '@xgen-small/model-core';
import {
  rollout,
  runSupervisedFineTuning,
  runProximalPolicyOptimization,
  runDirectPreferenceOptimization,
  buildPreferencePairs,
  numericAnswerVerifier,
  verifierReward,
} from './dist/index.js';
import { tinyTokenizer, tinyConfig } from './test/support/tiny.mjs';
import { rmSync } from 'node:fs';
await initializeBackend();
const [, , what = 'all', ppoJson = '{}'] = process.argv;
const random = new RandomGenerator(5);
const problems = Array.from({ length: 1500 }, () => {
  const a = random.integer(20),
    b = random.integer(20);
  return { question: `${a}+${b}`, answer: a + b };
});
const heldOut = problems.slice(0, 60),
  rest = problems.slice(300).filter((p) => !heldOut.some((h) => h.question === p.question));
const toPrompt = (p) => ({ prompt: [{ role: 'user', content: p.question }], answer: p.answer });
const toConv = (p) => ({
  messages: [
    { role: 'user', content: p.question },
    { role: 'assistant', content: `#### ${p.answer}` },
  ],
});
async function accuracy(model, temperature = 0) {
  const s = await rollout({
    model,
    tokenizer: tinyTokenizer,
    prompts: heldOut.map(toPrompt),
    samplesPerPrompt: 1,
    maximumNewTokens: 12,
    temperature,
    seed: 1,
  });
  const v = numericAnswerVerifier();
  return s.filter((x) => v.verify(x.prompt, x.completion)).length / s.length;
}
const config = {
  ...tinyConfig,
  hiddenSize: 64,
  intermediateSize: 176,
  layers: 3,
  queryHeads: 4,
  keyValueHeads: 4,
  headDimension: 16,
};
const base = { tokenizer: tinyTokenizer, seed: 1 };
if (what === 'all' || what === 'sft') {
  const model = CausalLanguageModel.initialize(config, { seed: 1 });
  rmSync('/tmp/ptx/sft', { recursive: true, force: true });
  const t = Date.now();
  const r = await runSupervisedFineTuning({
    ...base,
    model,
    conversations: rest.map(toConv),
    heldOut: heldOut.map(toConv),
    folder: '/tmp/ptx/sft',
    stage: {
      steps: 160,
      tokensPerStep: 1024,
      contextLength: 64,
      learningRate: { type: 'cosine', peak: 3e-3, warmup: { steps: 20 } },
    },
  });
  console.log(
    'sft',
    (Date.now() - t) / 1000,
    r.heldOutLoss,
    'greedy',
    await accuracy(model),
    'sampled',
    await accuracy(model, 1),
  );
}
if (what === 'dpo') {
  const model = await CausalLanguageModel.load('/tmp/ptx/sft/model');
  rmSync('/tmp/ptx/dpo', { recursive: true, force: true });
  const t = Date.now();
  const { pairs, statistics } = await buildPreferencePairs({
    model,
    tokenizer: tinyTokenizer,
    prompts: rest.slice(0, 600).map(toPrompt),
    verifier: numericAnswerVerifier(),
    seed: 1,
    samplesPerPrompt: 4,
    maximumNewTokens: 12,
    referenceSolution: (p) => `#### ${p.answer}`,
  });
  console.log(pairs.length, statistics, (Date.now() - t) / 1000);
  const r = await runDirectPreferenceOptimization({
    ...base,
    model,
    preferences: pairs,
    folder: '/tmp/ptx/dpo',
    stage: { epochs: 1, pairsPerStep: 16, contextLength: 64, learningRate: 1e-4, ...JSON.parse(ppoJson) },
  });
  console.log(r.final, 'greedy', await accuracy(model), 'sampled', await accuracy(model, 1), (Date.now() - t) / 1000);
}
if (what === 'ppo') {
  const model = await CausalLanguageModel.load('/tmp/ptx/sft/model');
  rmSync('/tmp/ptx/ppo', { recursive: true, force: true });
  const t = Date.now();
  const r = await runProximalPolicyOptimization({
    ...base,
    model,
    prompts: rest.map(toPrompt),
    reward: verifierReward(numericAnswerVerifier()),
    folder: '/tmp/ptx/ppo',
    stage: {
      iterations: 40,
      promptsPerIteration: 128,
      maximumNewTokens: 12,
      learningRate: 3e-4,
      ...JSON.parse(ppoJson),
    },
    onMetrics: (m) =>
      m.step % 10 === 0 &&
      console.log(
        m.step,
        'reward',
        m.reward.toFixed(3),
        'kl',
        m.referenceKl.toFixed(3),
        'ent',
        m.entropy.toFixed(3),
        'ev',
        m.explainedVariance.toFixed(3),
        'clip',
        m.clipFraction.toFixed(3),
        'akl',
        m.approximateKl.toFixed(4),
        'gn',
        m.gradientNorm.toFixed(3),
        's',
        m.stepSeconds.toFixed(2),
      ),
  });
  console.log('ppo', (Date.now() - t) / 1000, 'greedy', await accuracy(model), 'sampled', await accuracy(model, 1));
}
