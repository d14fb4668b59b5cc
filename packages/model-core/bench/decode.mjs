// Decoding and prompt speed of the `tiny` preset (d 256, 6 layers, 8 heads, 4 key-value heads, ff 704, vocabulary 8192).
//   node bench/decode.mjs [backend] [new tokens a sequence]
// One step is one forward over the batch. Prints a table and writes bench/results/decode-<backend>.json.
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { initializeBackend } from '@xgen-small/kernels';
import { describeEnvironment, printTable, summarize, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { tinyConfig as config } from '../../../tooling/bench/tiny-config.mjs';
import { CausalLanguageModel, GenerationEngine, parameterCount } from '../dist/index.js';

const [, , preferred, newTokens = '128'] = process.argv;
const promptLength = 128;
const steps = Number(newTokens);
const runs = 3;

const backend = await initializeBackend(preferred ? { preferred } : {});
const model = CausalLanguageModel.initialize(config, { seed: 1 });

/** Milliseconds of the prompt's forward and of each decoding step. */
function run(batch) {
  const cacheTokens = batch * (promptLength + steps + 16);
  const engine = new GenerationEngine(model, { maximumBatchTokens: batch * promptLength, cacheTokens });
  for (let i = 0; i < batch; i++) {
    const promptTokens = Array.from({ length: promptLength }, (_, t) => (i * 131 + t * 7) % config.vocabularySize);
    engine.add({ promptTokens, maximumNewTokens: steps + 1, stopTokens: [], temperature: 1 });
  }
  const timed = () => {
    const start = performance.now();
    engine.step();
    return performance.now() - start;
  };
  const prompt = timed();
  const decode = [];
  while (engine.active > 0) decode.push(timed());
  engine.dispose();
  return { prompt, decode };
}

const figures = {};
const rows = [['batch', 'tokens/s', 'step ms', 'p10', 'p90', 'prompt tokens/s']];
for (const batch of [1, 32]) {
  run(batch);
  const all = Array.from({ length: runs }, () => run(batch));
  const step = summarize(all.flatMap(({ decode }) => decode));
  const prompt = summarize(all.map((one) => one.prompt));
  const tokensPerSecond = (batch * 1000) / step.median;
  const promptTokensPerSecond = (batch * promptLength * 1000) / prompt.median;
  figures[`batch${batch}`] = { tokensPerSecond, step, promptTokensPerSecond, prompt };
  rows.push([batch, tokensPerSecond, step.median, step.p10, step.p90, promptTokensPerSecond]);
}
printTable(rows);
const folder = fileURLToPath(new URL('..', import.meta.url));
writeResult(fileURLToPath(new URL(`results/decode-${backend.name}.json`, import.meta.url)), {
  benchmark: 'model-core decode',
  backend: backend.name,
  ...describeEnvironment({ folder, packages: ['@tensorflow/tfjs-core'] }),
  settings: { preset: 'tiny', parameters: parameterCount(config).total, promptLength, newTokens: steps, runs },
  figures,
});
