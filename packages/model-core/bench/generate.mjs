// Tokens a second of `generate` while it decodes, with recorded graphs and without, for a model of random weights or a trained one.
//   node bench/generate.mjs [--backend cuda] [--preset 1b | --model FOLDER] [--batch 1] [--tokens 128] [--prompt 128] [--dtype bfloat16] [--rounds 3] [--output FILE]
// --preset: a name of kernels' bench/decoder.mjs. --dtype: what products are computed in, where the backend has a choice. Backends that record nothing
// run the same twice. After a warm-up the two ways take turns; a step is the time from one token of the batch to the next, the first ones, in which
// graphs are recorded, left out; `all` is from the first token to the last. Prints a table and the ratio; writes JSON to --output. Where the two ways first chose
// different tokens, it computes the logits there afresh: how far those two tokens' lie apart, in standard deviations of all, says whether rounding decided.
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { canRecord, initializeBackend, setMatmulPrecision } from '@xgen-small/kernels';
import { describeEnvironment, printTable, summarize, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { presets } from '../../kernels/bench/decoder.mjs';
import { CausalLanguageModel, generate, packDocuments, parameterCount, RandomGenerator } from '../dist/index.js';

const { values: options } = parseArgs({
  options: {
    backend: { type: 'string' },
    preset: { type: 'string', default: 'tiny' },
    model: { type: 'string' },
    batch: { type: 'string', default: '1' },
    tokens: { type: 'string', default: '128' },
    prompt: { type: 'string', default: '128' },
    dtype: { type: 'string', default: 'float32' },
    rounds: { type: 'string', default: '3' },
    output: { type: 'string' },
  },
});
const [batch, tokens, prompt, rounds] = ['batch', 'tokens', 'prompt', 'rounds'].map((name) => Number(options[name]));
const preset = presets[options.preset];
if (preset === undefined) throw new Error(`There is no preset ${options.preset}: ${Object.keys(presets).join(', ')}.`);
/** Steps in which graphs are recorded. */
const firstSteps = Math.min(4, tokens - 2);

const backend = await initializeBackend(options.backend ? { preferred: options.backend } : {});
for (const warning of backend.warnings) console.warn(warning);
setMatmulPrecision(options.dtype);
const model = options.model === undefined ? randomModel() : await CausalLanguageModel.load(options.model);
const { config } = model;

const requests = Array.from({ length: batch }, (_, i) => ({
  promptTokens: Array.from({ length: prompt }, (_, t) => (i * 7919 + t * 104729) % config.vocabularySize),
  maximumNewTokens: tokens,
  stopTokens: [],
}));

/** When each step's tokens came, and the tokens. */
async function run(captureDecoding) {
  const times = [];
  let events = 0;
  const results = await generate(model, requests, {
    captureDecoding,
    maximumBatchTokens: Math.max(2048, batch * prompt),
    cacheTokens: batch * (Math.ceil((prompt + tokens) / 16) + 2) * 16,
    onEvent: () => {
      if (events++ % batch === 0) times.push(performance.now());
    },
  });
  return { times, tokens: results.map((result) => result.tokens) };
}

const ways = { plain: false, captured: true };
const measured = { plain: [], captured: [] };
for (let round = 0; round <= rounds; round++) {
  for (const [way, captureDecoding] of Object.entries(ways)) {
    const result = await run(captureDecoding);
    if (round > 0) measured[way].push(result);
  }
}

const figures = {};
const rows = [['decoding', 'tokens/s', 'step ms', 'p10', 'p90', 'all tokens/s']];
for (const way of Object.keys(ways)) {
  const step = summarize(
    measured[way].flatMap(({ times }) => times.slice(firstSteps + 1).map((time, i) => time - times[firstSteps + i])),
  );
  const all = summarize(measured[way].map(({ times }) => times.at(-1) - times[0]));
  const tokensPerSecond = (batch * 1000) / step.median;
  const allTokensPerSecond = (batch * (tokens - 1) * 1000) / all.median;
  figures[way] = { tokensPerSecond, step, allTokensPerSecond, all };
  rows.push([way, tokensPerSecond, step.median, step.p10, step.p90, allTokensPerSecond]);
}
const [plain, captured] = [figures.plain, figures.captured];
figures.ratio = captured.tokensPerSecond / plain.tokensPerSecond;
const flat = (way) => measured[way][0].tokens.flat();
const others = flat('captured');
figures.equalTokens = flat('plain').filter((token, i) => token === others[i]).length / others.length;
figures.partings = partings(measured.plain[0].tokens, measured.captured[0].tokens);

const name = `${options.model ?? options.preset}, batch ${batch}, ${options.dtype}, ${backend.name}`;
console.log(`${name}: ${(parameterCount(config).total / 1e6).toFixed(0)} million parameters, records ${canRecord()}`);
printTable(rows);
console.log(
  `captured / plain: ${figures.ratio.toFixed(3)} (tokens that are the same: ${(100 * figures.equalTokens).toFixed(1)} %)`,
);
for (const { request, at, gap } of figures.partings)
  console.log(
    `request ${request} parts at token ${at}, where the two logits are ${gap.toFixed(4)} standard deviations apart`,
  );
model.dispose();
if (options.output !== undefined) {
  writeResult(options.output, {
    benchmark: 'model-core generate',
    backend: backend.name,
    ...describeEnvironment({
      folder: fileURLToPath(new URL('..', import.meta.url)),
      packages: ['@tensorflow/tfjs-core'],
    }),
    settings: { ...options, batch, tokens, prompt, rounds, parameters: parameterCount(config).total },
    figures,
  });
}

function randomModel() {
  const shape = {
    vocabularySize: preset.vocabulary,
    hiddenSize: preset.width,
    intermediateSize: preset.feedForward,
    layers: preset.layers,
    queryHeads: preset.queryHeads,
    keyValueHeads: preset.keyValueHeads,
    headDimension: preset.width / preset.queryHeads,
    maximumPositions: Math.max(2048, prompt + tokens),
    rmsNormEpsilon: 1e-5,
    tieWordEmbeddings: false,
    rope: { base: 10000 },
  };
  // A billion normal numbers take a minute; a million of them over and over do as well here.
  const normal = new Float32Array(2 ** 20);
  new RandomGenerator(1).fillNormal(normal, 0, 1);
  RandomGenerator.prototype.fillNormal = function (target, mean, deviation) {
    let at = this.integer(normal.length);
    const scaled = normal.map((value) => mean + deviation * value);
    for (let done = 0; done < target.length; at = 0) {
      const piece = scaled.subarray(at, at + target.length - done);
      target.set(piece, done);
      done += piece.length;
    }
  };
  return CausalLanguageModel.initialize(shape, { seed: 1 });
}

/** Of each request whose tokens are not the same both ways: the first place, and the gap of the two tokens' logits there. */
function partings(first, second) {
  return requests.flatMap(({ promptTokens }, i) => {
    const at = first[i].findIndex((token, t) => token !== second[i][t]);
    if (at < 0) return [];
    const batch = packDocuments([[...promptTokens, ...first[i].slice(0, at)]]);
    const logits = tf.tidy(() => {
      const hidden = model.hiddenStates(batch);
      return model.logits(hidden, Int32Array.of(hidden.shape[0] - 1)).dataSync();
    });
    const mean = logits.reduce((sum, logit) => sum + logit, 0) / logits.length;
    const deviation = Math.sqrt(logits.reduce((sum, logit) => sum + (logit - mean) ** 2, 0) / logits.length);
    return [{ request: i, at, gap: (logits[first[i][at]] - logits[second[i][at]]) / deviation }];
  });
}
