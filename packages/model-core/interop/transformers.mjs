// Proof against Hugging Face transformers, for machines that have it:
//   node interop/transformers.mjs write FOLDER      models of every kind, with their logits and greedy continuations
//   python3 interop/transformers.py FOLDER          loads them there, compares, and saves them again from there
//   node interop/transformers.mjs read FOLDER       loads what transformers saved and compares with the first logits
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel, generate, packDocuments } from '../dist/index.js';

const base = {
  vocabularySize: 300,
  hiddenSize: 64,
  intermediateSize: 160,
  layers: 3,
  queryHeads: 4,
  keyValueHeads: 2,
  headDimension: 16,
  maximumPositions: 128,
  rmsNormEpsilon: 1e-5,
  tieWordEmbeddings: false,
  bosTokenId: 0,
  eosTokenId: 2,
  rope: { base: 10000 },
};
const scaled = (scaling, rest = {}) => ({
  ...base,
  headDimension: 32,
  maximumPositions: 512,
  ...rest,
  rope: { base: 50000, scaling },
});
const yarn = { type: 'yarn', factor: 8, originalMaximumPositions: 64 };
const llama3 = {
  type: 'llama3',
  factor: 8,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalMaximumPositions: 64,
};
const cases = {
  plain: [base, {}],
  tied: [{ ...base, tieWordEmbeddings: true, keyValueHeads: 4, bosTokenId: undefined, eosTokenId: undefined }, {}],
  bfloat16: [base, { dtype: 'bfloat16' }],
  float16: [base, { dtype: 'float16' }],
  sharded: [{ ...base, keyValueHeads: 1 }, { maximumShardBytes: 100_000 }],
  headSize: [{ ...base, headDimension: 32, rope: { base: 1e6 } }, {}],
  linear: [scaled({ type: 'linear', factor: 4 }), {}],
  dynamic: [scaled({ type: 'dynamic', factor: 4 }, { maximumPositions: 32 }), {}],
  yarn: [scaled(yarn), {}],
  yarnFull: [scaled({ ...yarn, attentionFactor: 1.3, betaFast: 12, betaSlow: 2, truncate: false }), {}],
  llama3: [scaled(llama3), {}],
};
const tokens = Array.from({ length: 60 }, (_, i) => (i * 37 + ((i * i) % 11)) % 300);

const logitsOf = (model) => tf.tidy(() => model.logits(model.hiddenStates(packDocuments([tokens]))).arraySync());

async function write(folder) {
  const expected = {};
  for (const [name, [config, options]] of Object.entries(cases)) {
    const fresh = CausalLanguageModel.initialize(config, { seed: 3, standardDeviation: 0.15 });
    await fresh.save(join(folder, name), { ...options, extraFiles: { 'generation_config.json': '{}' } });
    fresh.dispose();
    const model = await CausalLanguageModel.load(join(folder, name));
    const prompt = tokens.slice(0, 9);
    const [{ tokens: greedy }] = await generate(model, [
      { promptTokens: prompt, maximumNewTokens: 20, stopTokens: [] },
    ]);
    expected[name] = { prompt, greedy, logits: logitsOf(model) };
    model.dispose();
  }
  writeFileSync(join(folder, 'expected.json'), JSON.stringify({ tokens, models: expected }));
}

async function read(folder) {
  const { models } = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8'));
  for (const [name, { logits }] of Object.entries(models)) {
    const model = await CausalLanguageModel.load(join(folder, `${name}-from-transformers`));
    const differences = logitsOf(model).flatMap((row, t) => row.map((x, v) => Math.abs(x - logits[t][v])));
    const worst = Math.max(...differences);
    console.log(`${name}: largest difference of a logit ${worst}`);
    if (!(worst < 1e-5)) process.exitCode = 1;
    model.dispose();
  }
}

const [, , command, folder] = process.argv;
await initializeBackend();
await { write, read }[command](folder);
