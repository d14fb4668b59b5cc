// AdamW against Muon by tokens: a decoder of d 128, 4 layers, 4 heads, 2 key-value heads, ff 352, vocabulary 2048 on the README files
// and type declarations of the workspace's node_modules; 2,048 tokens a step, context 128, the same stable-then-decaying schedule.
//   node bench/optimizers.mjs [steps] [backend]
// Losses don't depend on the machine's load; seconds do. Writes bench/results/optimizers-<backend>.json.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel } from '@xgen-small/model-core';
import { Tokenizer, trainBytePairEncoding } from '@xgen-small/tokenizer';
import { describeEnvironment, printTable, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { memoryDocumentSource, runPretrainStage } from '../dist/index.js';

const [, , stepsText = '150', preferred] = process.argv;
const steps = Number(stepsText);
const backend = await initializeBackend(preferred ? { preferred } : {});
const config = {
  vocabularySize: 2048,
  hiddenSize: 128,
  intermediateSize: 352,
  layers: 4,
  queryHeads: 4,
  keyValueHeads: 2,
  headDimension: 32,
  maximumPositions: 128,
  rmsNormEpsilon: 1e-5,
  tieWordEmbeddings: true,
  bosTokenId: 0,
  rope: { base: 10000 },
};
const trials = [
  { type: 'adamW', peak: 1e-3 },
  { type: 'adamW', peak: 2e-3 },
  { type: 'adamW', peak: 4e-3 },
  { type: 'adamW', peak: 8e-3 },
  { type: 'muon', peak: 5e-3 },
  { type: 'muon', peak: 1e-2 },
  { type: 'muon', peak: 2e-2 },
];

const { train, heldOut } = await corpus();
const folder = mkdtempSync(join(tmpdir(), 'pretrain-optimizers-'));
const figures = [];
for (const [index, { type, peak }] of trials.entries()) {
  const model = CausalLanguageModel.initialize(config, { seed: 1 });
  const curve = [];
  let seconds = 0;
  await runPretrainStage({
    model,
    data: train,
    stage: {
      name: `trial-${index}`,
      contextLength: 128,
      tokensPerStep: 2048,
      steps,
      learningRate: {
        type: 'warmupStableDecay',
        peak,
        warmup: { steps: 10 },
        decay: { fraction: 0.4 },
        decayShape: 'oneMinusSqrt',
      },
      mixture: { documentation: { share: 1 }, code: { share: 1 } },
      optimizer: { type },
    },
    folder: join(folder, String(index)),
    seed: 1,
    metricsEverySteps: steps,
    heldOut: { data: heldOut, everySteps: 50, maximumTokensPerDomain: 30_000 },
    onMetrics: ({ step, heldOutLossByDomain, seconds: elapsed }) => {
      seconds = elapsed;
      curve.push({ step, ...heldOutLossByDomain });
    },
  });
  model.dispose();
  figures.push({ type, peak, seconds, curve });
}
rmSync(folder, { recursive: true });
printTable([
  ['optimizer, peak rate', 'documentation', 'code', 'seconds'],
  ...figures.map(({ type, peak, curve, seconds }) => {
    const { documentation, code } = curve.at(-1);
    return [`${type} ${peak}`, documentation, code, seconds];
  }),
]);
writeResult(fileURLToPath(new URL(`results/optimizers-${backend.name}.json`, import.meta.url)), {
  case: { config, steps, tokensPerStep: 2048, documents: train.documentCount },
  backend,
  loadAverage: loadavg(),
  environment: describeEnvironment({ folder: fileURLToPath(new URL('..', import.meta.url)) }),
  figures,
});

/** Documents of the packages that the workspace installs, each text once; every twentieth is held out. */
async function corpus() {
  const files = [];
  const walk = (directory, depth) => {
    for (const name of readdirSync(directory).sort()) {
      const path = join(directory, name);
      const found = statSync(path, { throwIfNoEntry: false });
      if (found?.isDirectory() && depth < 6) walk(path, depth + 1);
      else if (found?.isFile() && /\.(md|d\.ts)$/.test(name) && found.size > 500 && found.size < 60_000)
        files.push(path);
    }
  };
  for (const name of readdirSync(fileURLToPath(new URL('../../../node_modules/.pnpm', import.meta.url))).sort()) {
    if (files.length > 6000) break;
    if (name !== 'node_modules')
      walk(fileURLToPath(new URL(`../../../node_modules/.pnpm/${name}`, import.meta.url)), 0);
  }
  const texts = new Map(
    files.map((file) => [readFileSync(file, 'utf8'), file.endsWith('.md') ? 'documentation' : 'code']),
  );
  const rows = [...texts].map(([text, domain]) => ({ text, domain }));
  const sample = rows.filter((_, i) => i % 3 === 1).map(({ text }) => text);
  const tokenizer = Tokenizer.fromDefinition(await trainBytePairEncoding(sample, { vocabularySize: 2048 }));
  const source = (chosen) =>
    memoryDocumentSource(
      chosen.map(({ text, domain }) => ({ tokens: [...tokenizer.encode(text), 0], domain })),
      { vocabularySize: 2048 },
    );
  return {
    train: source(rows.filter((_, i) => i % 20 !== 0)),
    heldOut: source(rows.filter((_, i) => i % 20 === 0)),
  };
}
