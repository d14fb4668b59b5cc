// One training step of `tiny` (6 layers, width 256, 8 query and 4 key-value heads, feed-forward 704, vocabulary 8,192) on 8
// sequences of 256 tokens: forward, backward, gradient norm, AdamW.
//
//   node bench/training-step.mjs [--steps 10] [--threads 0] [--precision float32|bfloat16] [--kernels] [--json]
//
// Operations counted: 6 x (parameters without the input embedding) x tokens + 6 x layers x sequence x width x tokens. The rate
// stands beside the best 1,024-cubed float32 product that the same process does between the steps. --kernels adds the time in
// each kernel. Run after a build.
import {
  getKernelsForBackend,
  memory,
  matMul,
  mean,
  neg,
  ones,
  randomNormal,
  tensor1d,
  tidy,
  variable,
  zeros,
} from '@tensorflow/tfjs-core';
import { parseArgs } from 'node:util';
import * as kernels from '../dist/index.js';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '10' },
    threads: { type: 'string', default: '0' },
    precision: { type: 'string', default: 'float32' },
    kernels: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const tiny = {
  layers: 6,
  width: 256,
  queryHeads: 8,
  keyValueHeads: 4,
  headDimension: 32,
  feedForward: 704,
  vocabulary: 8192,
};
const [sequences, length] = [8, 256];
const tokens = sequences * length;

await kernels.initializeBackend({ preferred: 'native' });
const threads = kernels.setThreadCount(Number(options.threads));
kernels.setMatmulPrecision(options.precision);

const { layers, width, queryHeads, keyValueHeads, headDimension, feedForward, vocabulary } = tiny;
const qkvWidth = (queryHeads + 2 * keyValueHeads) * headDimension;
const parameters = [];
function parameter(shape) {
  const made = tidy(() =>
    variable(shape.length === 1 ? ones(shape) : randomNormal(shape, 0, 0.02, 'float32', parameters.length + 1)),
  );
  parameters.push(made);
  return made;
}
const embeddingWeight = parameter([vocabulary, width]);
const blocks = Array.from({ length: layers }, () => ({
  attentionNorm: parameter([width]),
  qkv: parameter([qkvWidth, width]),
  out: parameter([width, queryHeads * headDimension]),
  feedForwardNorm: parameter([width]),
  gateUp: parameter([2 * feedForward, width]),
  down: parameter([width, feedForward]),
}));
const finalNorm = parameter([width]);
const head = parameter([vocabulary, width]);
const moments = [0, 1].map(() => parameters.map(({ shape }) => tidy(() => variable(zeros(shape), false))));

const ids = tensor1d(
  Int32Array.from({ length: tokens }, (_, i) => (i * 7919) % vocabulary),
  'int32',
);
const targets = tensor1d(
  Int32Array.from({ length: tokens }, (_, i) => ((i + 1) * 7919) % vocabulary),
  'int32',
);
const positions = tensor1d(
  Int32Array.from({ length: tokens }, (_, i) => i % length),
  'int32',
);
const cumulativeLengths = tensor1d(
  Int32Array.from({ length: sequences + 1 }, (_, i) => i * length),
  'int32',
);
const inverseFrequencies = tensor1d(
  Float32Array.from({ length: headDimension / 2 }, (_, i) => 10000 ** ((-2 * i) / headDimension)),
);

const shape = { queryHeads, keyValueHeads, headDimension };
const ropeOptions = { rotatedHeads: queryHeads + keyValueHeads, headDimension };

function loss() {
  let residual = kernels.embedding(embeddingWeight, ids);
  let branch;
  for (const block of blocks) {
    let normalized;
    if (branch === undefined) normalized = kernels.rmsNorm(residual, block.attentionNorm, { epsilon: 1e-5 });
    else ({ normalized, sum: residual } = kernels.addRmsNorm(branch, residual, block.attentionNorm, { epsilon: 1e-5 }));
    const qkv = kernels.rope(kernels.linear(normalized, block.qkv), positions, inverseFrequencies, ropeOptions);
    const attended = kernels.groupedQueryAttention(qkv, cumulativeLengths, shape);
    const joined = kernels.addRmsNorm(kernels.linear(attended, block.out), residual, block.feedForwardNorm, {
      epsilon: 1e-5,
    });
    residual = joined.sum;
    branch = kernels.linear(kernels.swiglu(kernels.linear(joined.normalized, block.gateUp)), block.down);
  }
  const { normalized } = kernels.addRmsNorm(branch, residual, finalNorm, { epsilon: 1e-5 });
  return neg(mean(kernels.linearCrossEntropy(normalized, head, targets)));
}

let count = 0;
function step() {
  count++;
  const { value, gradients } = kernels.valueAndGradients(loss, parameters);
  const list = parameters.map(({ name }) => gradients.get(name));
  const { norm, scale } = kernels.globalNormScale(list, 1);
  kernels.adamW({ parameters, firstMoments: moments[0], secondMoments: moments[1] }, list, {
    step: count,
    learningRate: 1e-3,
    gradientScale: scale,
    weightDecay: parameters.map(({ rank }) => (rank > 1 ? 0.1 : 0)),
  });
  const result = value.dataSync()[0];
  for (const tensor of [value, norm, scale, ...list]) tensor.dispose();
  return result;
}

// On one thread the clock counts processor time, which other programs on the machine disturb less than the time of day.
const wallClock = () => Number(process.hrtime.bigint()) / 1e6;
const processorClock = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
};
const clock = threads === 1 ? processorClock : wallClock;
const timed = (f) => {
  const start = clock();
  f();
  return clock() - start;
};

let counting = false;
const inKernels = new Map();
if (options.kernels) {
  for (const config of getKernelsForBackend('native')) {
    const run = config.kernelFunc;
    config.kernelFunc = (call) => {
      if (!counting) return run(call);
      const start = clock();
      const result = run(call);
      const entry = inKernels.get(config.kernelName) ?? { calls: 0, time: 0 };
      entry.calls++;
      entry.time += clock() - start;
      inKernels.set(config.kernelName, entry);
      return result;
    };
  }
}

const [a, b] = [randomNormal([1024, 1024]), randomNormal([1024, 1024])];
kernels.setMatmulPrecision('float32');
const products = [];
const measurePeak = () => {
  kernels.setMatmulPrecision('float32');
  for (let i = 0; i < 4; i++) products.push(timed(() => matMul(a, b).dispose()));
  kernels.setMatmulPrecision(options.precision);
};
const times = [];
for (let i = 0; i < 2; i++) step();
let last;
for (let i = 0; i < Number(options.steps); i++) {
  measurePeak();
  counting = true;
  times.push(timed(() => (last = step())));
  counting = false;
}

const median = (list) => [...list].sort((x, y) => x - y)[list.length >> 1];
const size = (list) => list.reduce((total, { shape: axes }) => total + axes.reduce((x, y) => x * y, 1), 0);
const counted = size(parameters) - vocabulary * width;
const operations = 6 * counted * tokens + 6 * layers * length * width * tokens;
const best = Math.min(...times);
const peak = (2 * 1024 ** 3) / Math.min(...products) / 1e6;
const result = {
  threads,
  precision: options.precision,
  parameters: size(parameters),
  loss: last,
  millisecondsBest: best,
  millisecondsMedian: median(times),
  tokensPerSecond: Math.round((tokens / best) * 1000),
  gigaflops: operations / best / 1e6,
  peakGigaflops: peak,
  fractionOfPeak: operations / best / 1e6 / peak,
  fractionOfMedians: operations / median(times) / 1e6 / ((2 * 1024 ** 3) / median(products) / 1e6),
  tensors: memory().numTensors,
};
if (options.json) console.log(JSON.stringify(result));
else
  console.table(
    Object.fromEntries(
      Object.entries(result).map(([key, value]) => [key, typeof value === 'number' ? +value.toFixed(3) : value]),
    ),
  );
if (options.kernels) {
  const rows = [...inKernels].map(([name, { calls, time }]) => ({
    name,
    calls: calls / times.length,
    ms: +(time / times.length).toFixed(3),
  }));
  console.table(rows.sort((x, y) => y.ms - x.ms));
  const total = rows.reduce((sum, { ms }) => sum + ms, 0);
  console.log(`outside kernels: ${(times.reduce((x, y) => x + y, 0) / times.length - total).toFixed(2)} ms a step`);
}
