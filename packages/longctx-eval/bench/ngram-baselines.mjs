// Speed and memory of the n-gram baselines: 10 million training tokens with a skewed law, 1 million held out, 32,768 words.
//   node bench/ngram-baselines.mjs
// Writes bench/results/ngram-baselines.json. Takes about half a minute.
import { fileURLToPath } from 'node:url';
import { describeEnvironment, measure, printTable, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { ngramBaselines } from '../dist/index.js';

const vocabularySize = 32_768;
const trainTokens = 10_000_000;

/** Each token depends on the one before it: half of the time a successor of its own, else a draw from a Zipf-like law. */
function tokens(length, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  const out = new Uint16Array(length);
  for (let i = 1; i < length; i++) {
    const zipf = Math.floor(vocabularySize ** uniform()) - 1;
    out[i] = uniform() < 0.5 ? (out[i - 1] * 31 + (zipf % 7)) % vocabularySize : zipf;
  }
  return out;
}

const train = { corpus: { tokens: tokens(trainTokens, 1) } };
const heldOut = { other: { tokens: tokens(1_000_000, 2) } };
let result;
const time = measure(() => (result = ngramBaselines({ vocabularySize, train, heldOut })), { samples: 5, warmUp: 1 });
const { rss, arrayBuffers } = process.memoryUsage();
const figures = {
  milliseconds: time,
  millionTokensPerSecond: (trainTokens + 1e6) / 1e3 / time.median,
  memory: { rssMiB: rss / 2 ** 20, arrayBuffersMiB: arrayBuffers / 2 ** 20 },
  crossEntropies: { uniform: result.uniform, ...result.domains.other.pooled },
};
printTable([
  ['seconds', 'million tokens/s', 'unigram', 'bigram'],
  [time.median / 1000, figures.millionTokensPerSecond, figures.crossEntropies.unigram, figures.crossEntropies.bigram],
]);
writeResult(fileURLToPath(new URL('results/ngram-baselines.json', import.meta.url)), {
  benchmark: 'n-gram baselines',
  ...describeEnvironment({ folder: fileURLToPath(new URL('..', import.meta.url)) }),
  settings: { vocabularySize, trainTokens, heldOutTokens: 1_000_000 },
  figures,
});
