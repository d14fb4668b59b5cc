// What the training loop costs around the model: packing from token shards, a step of the `tiny` preset (d 256, 6 layers, 8 heads,
// 4 key-value heads, ff 704, vocabulary 8192; 8 x 256 tokens) inside the loop against the bare step, and memory over 4,000 steps.
//   node --expose-gc bench/training-loop.mjs [backend] [steps]
// Writes bench/results/training-loop-<backend>.json.
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { memory, mul, sum } from '@tensorflow/tfjs-core';
import { globalNormScale, initializeBackend, valueAndGradients } from '@xgen-small/kernels';
import { CausalLanguageModel, RandomGenerator } from '@xgen-small/model-core';
import { tokenizeCorpus, Tokenizer, TokenShardReader, trainBytePairEncoding } from '@xgen-small/tokenizer';
import { describeEnvironment, printTable, summarize, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { tinyConfig } from '../../../tooling/bench/tiny-config.mjs';
import { BatchPacker, createAdamW, modelFlopsPerToken, parsePretrainStage, runPretrainStage } from '../dist/index.js';

const [, , preferred, stepsText = '12'] = process.argv;
const steps = Number(stepsText);
const backend = await initializeBackend(preferred ? { preferred } : {});
const folder = mkdtempSync(join(tmpdir(), 'pretrain-bench-'));
const tiny = { ...tinyConfig, maximumPositions: 256, bosTokenId: 0 };

const data = await shards();
const stage = parsePretrainStage({
  name: 'bench',
  contextLength: 256,
  tokensPerStep: 2048,
  steps,
  learningRate: { type: 'warmupStableDecay', peak: 1e-3 },
  mixture: { prose: { share: 3 }, code: { share: 1, topFraction: 0.5 } },
});

const figures = { memory: await flatMemory(), packing: await packing(), ...(await loop()) };
data.close();
rmSync(folder, { recursive: true });
printTable([
  ['what', 'figure'],
  ['packing, million tokens a second', figures.packing.tokensPerSecond / 1e6],
  ['bare step, seconds', figures.bareStep.median],
  ['step in the loop, seconds', figures.loopStep.median],
  ['loop beside the bare step, %', figures.loopOverheadPercent],
  ['training, tokens a second', figures.tokensPerSecond],
  ['training, GFLOP/s', figures.gigaflops],
  ...Object.entries(figures.memory).map(([step, { heapMiB, residentMiB, tensors }]) => [
    `memory after ${step} steps: heap MiB, resident MiB, tensors`,
    `${heapMiB.toFixed(1)} ${residentMiB.toFixed(0)} ${tensors}`,
  ]),
]);
writeResult(fileURLToPath(new URL(`results/training-loop-${backend.name}.json`, import.meta.url)), {
  case: { config: tiny, tokensPerStep: 2048, steps, documents: data.documentCount, tokens: data.tokenCount },
  backend,
  loadAverage: loadavg(),
  environment: describeEnvironment({ folder: fileURLToPath(new URL('..', import.meta.url)) }),
  figures,
});

/** Token shards of 20,000 synthetic documents of very different lengths. */
async function shards() {
  const random = new RandomGenerator(1);
  const words = Array.from({ length: 2000 }, () =>
    String.fromCharCode(...Array.from({ length: 2 + random.integer(8) }, () => 97 + random.integer(26))),
  );
  const rows = Array.from({ length: 20_000 }, (_, i) => ({
    text: Array.from(
      { length: Math.round(40 * Math.exp(random.normal())) + 2 },
      () => words[random.integer(2000)],
    ).join(' '),
    domain: i % 3 === 0 ? 'code' : 'prose',
    quality: random.uniform(),
    weight: 1 + random.integer(5),
  }));
  const definition = await trainBytePairEncoding(
    rows.slice(0, 2000).map(({ text }) => text),
    { vocabularySize: 1024, workers: 0 },
  );
  const tokenizer = Tokenizer.fromDefinition(definition);
  await tokenizeCorpus({ rows, tokenizer, outputFolder: join(folder, 'shards'), workers: 0 });
  return TokenShardReader.open(join(folder, 'shards'));
}

async function packing() {
  const packer = new BatchPacker({ source: data, stage, seed: 1, prependBeginToken: true, beginToken: 0 });
  for (let i = 0; i < 200; i++) await packer.next(0);
  const batches = 2000;
  const start = performance.now();
  for (let i = 0; i < batches; i++) await packer.next(0);
  const seconds = (performance.now() - start) / 1000;
  return { batches, seconds, tokensPerSecond: (batches * stage.microBatchTokens) / seconds };
}

/** Steps in the loop and bare ones take turns, so that both meet the same machine. */
async function loop() {
  const [model, bare] = [1, 2].map((seed) => CausalLanguageModel.initialize(tiny, { seed }));
  const optimizer = createAdamW();
  let state = optimizer.initialize(bare.parameters);
  const packer = new BatchPacker({ source: data, stage, seed: 1, prependBeginToken: true, beginToken: 0 });
  const { batch, targets } = await packer.next(0);
  const bareTimes = [];
  const loopTimes = [];
  const bareStep = () => {
    const start = performance.now();
    const { value, gradients } = valueAndGradients(
      () => mul(sum(bare.logProbabilities(batch, targets)), -1 / targets.length),
      bare.parameters.values(),
    );
    const byName = new Map([...bare.parameters].map(([name, variable]) => [name, gradients.get(variable.name)]));
    const { norm, scale } = globalNormScale([...byName.values()], 1);
    state = optimizer.update(state, bare.parameters, byName, { learningRate: 1e-3, gradientScale: scale });
    value.dataSync();
    for (const tensor of [value, norm, scale, ...gradients.values()]) tensor.dispose();
    bareTimes.push((performance.now() - start) / 1000);
  };
  await runPretrainStage({
    model,
    data,
    stage,
    folder: join(folder, 'loop'),
    seed: 1,
    onMetrics: ({ tokensPerSecond }) => {
      loopTimes.push(stage.tokensPerStep / tokensPerSecond);
      bareStep(); // outside the time that the loop counts
    },
    checkpoints: { everySeconds: 1e6 },
  });
  model.dispose();
  bare.dispose();
  optimizer.dispose(state);
  const [bareStepTimes, loopStepTimes] = [summarize(bareTimes.slice(2)), summarize(loopTimes.slice(2))];
  const tokensPerSecond = stage.tokensPerStep / loopStepTimes.median;
  return {
    bareStep: bareStepTimes,
    loopStep: loopStepTimes,
    loopOverheadPercent: 100 * (loopStepTimes.median / bareStepTimes.median - 1),
    tokensPerSecond,
    gigaflops: (tokensPerSecond * modelFlopsPerToken(tiny, 256)) / 1e9,
  };
}

async function flatMemory() {
  const config = {
    ...tiny,
    vocabularySize: 1024,
    hiddenSize: 32,
    intermediateSize: 64,
    layers: 2,
    queryHeads: 2,
    keyValueHeads: 1,
    headDimension: 16,
  };
  const model = CausalLanguageModel.initialize(config, { seed: 1 });
  const points = {};
  await runPretrainStage({
    model,
    data,
    stage: { ...stage, name: 'memory', contextLength: 64, tokensPerStep: 128, microBatchTokens: 64, steps: 4000 },
    folder: join(folder, 'memory'),
    seed: 1,
    checkpoints: { everySteps: 250 },
    onMetrics: ({ step }) => {
      if (![100, 1000, 4000].includes(step)) return;
      globalThis.gc?.();
      const { heapUsed, rss } = process.memoryUsage();
      points[step] = { heapMiB: heapUsed / 2 ** 20, residentMiB: rss / 2 ** 20, tensors: memory().numTensors };
    },
  });
  model.dispose();
  return points;
}
