// What the server costs on top of the engine, and how soon it answers others while it generates: a small random model, greedy,
// 64 prompt tokens and 128 new ones a request, streaming; the engine alone does the same work in the same process, in turns.
//   node bench/load.mjs
// Writes bench/results/load.json. Takes about a minute.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { initializeBackend } from '../../kernels/dist/index.js';
import { CausalLanguageModel, GenerationEngine } from '../../model-core/dist/index.js';
import { Tokenizer, trainBytePairEncoding } from '../../tokenizer/dist/index.js';
import { describeEnvironment, printTable, summarize, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { tinyConfig } from '../../../tooling/bench/tiny-config.mjs';
import { createServer } from '../dist/index.js';

const rounds = 5;
const [promptTokens, newTokens] = [64, 128];
const backend = await initializeBackend();
const definition = await trainBytePairEncoding(['some text to have a tokenizer '.repeat(50)], {
  vocabularySize: 300,
  workers: 0,
});
const tokenizer = Tokenizer.fromDefinition(definition);
const model = CausalLanguageModel.initialize({ ...tinyConfig, keyValueHeads: 2, maximumPositions: 1024 }, { seed: 1 });
/** Ids above the tokenizer's become its last: the text does not matter here. */
const clipped = {
  encode: (text, options) => tokenizer.encode(text, options),
  createDecoder: (options) => {
    const decoder = tokenizer.createDecoder(options);
    return { push: (id) => decoder.push(Math.min(id, 290)), finish: () => decoder.finish() };
  },
  tokenId: (token) => tokenizer.tokenId(token),
  tokenBytes: (id) => tokenizer.tokenBytes(Math.min(id, 290)),
};
const makeEngine = () =>
  new GenerationEngine(model, { maximumBatchTokens: 256, cacheTokens: 16_384, maximumSequences: 64 });
const prompt = (i) => Array.from({ length: promptTokens }, (_, t) => 10 + ((i * 131 + t * 7) % 200));

const alone = (clients, round) => {
  const engine = makeEngine();
  const start = performance.now();
  for (let i = 0; i < clients; i++) {
    engine.add({ promptTokens: prompt(round * 100 + i), maximumNewTokens: newTokens, stopTokens: [] });
  }
  while (engine.active + engine.waiting > 0) engine.step();
  const milliseconds = performance.now() - start;
  engine.dispose();
  return milliseconds;
};

const engine = makeEngine();
const server = createServer({
  engine,
  tokenizer: clipped,
  modelName: 'bench',
  stopTokens: [],
  chatPage: false,
  limits: { contextTokens: 1024 },
});
const { url } = await server.listen();
// The clients live in a process of their own, as clients do.
const clientProcess = fork(fileURLToPath(new URL('load-clients.mjs', import.meta.url)), [url]);
const served = (clients, round) =>
  new Promise((resolve) => {
    clientProcess.once('message', resolve);
    const prompts = Array.from({ length: clients }, (_, i) => prompt(round * 100 + i));
    clientProcess.send({ prompts, newTokens });
  });

const figures = {};
const rows = [['clients', 'engine tokens/s', 'server tokens/s', 'ratio', 'first token ms', 'health ms', 'health p90']];
for (const clients of [1, 8, 32]) {
  alone(clients, 90);
  await served(clients, 91);
  const times = { engine: [], server: [] };
  const firstTokens = [];
  const health = [];
  for (let round = 0; round < rounds; round++) {
    times.engine.push(alone(clients, round));
    const answer = await served(clients, round);
    times.server.push(answer.milliseconds);
    firstTokens.push(...answer.firstTokens);
    health.push(...answer.health);
  }
  const [engineTime, serverTime] = [summarize(times.engine), summarize(times.server)];
  const rate = (time) => (clients * newTokens * 1000) / time.median;
  const ratio = rate(serverTime) / rate(engineTime);
  const [first, answered] = [summarize(firstTokens), summarize(health)];
  figures[`clients${clients}`] = {
    engine: { tokensPerSecond: rate(engineTime), milliseconds: engineTime },
    server: { tokensPerSecond: rate(serverTime), milliseconds: serverTime },
    ratio,
    firstTokenMilliseconds: first,
    healthMilliseconds: answered,
  };
  rows.push([clients, rate(engineTime), rate(serverTime), ratio, first.median, answered.median, answered.p90]);
}
printTable(rows);
clientProcess.disconnect();
await server.close();
engine.dispose();
writeResult(fileURLToPath(new URL('results/load.json', import.meta.url)), {
  benchmark: 'serve load',
  backend: backend.name,
  ...describeEnvironment({
    folder: fileURLToPath(new URL('..', import.meta.url)),
    packages: ['hono', '@hono/node-server'],
  }),
  settings: { promptTokens, newTokens, rounds, layers: 6, hiddenSize: 256 },
  figures,
});
