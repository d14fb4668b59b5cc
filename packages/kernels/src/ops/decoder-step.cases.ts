import { type Tensor, tensor, tensor1d, tensor2d, variable, type Variable, zeros } from '@tensorflow/tfjs-core';
import { floats, type HostTensor, integers, normal } from '../conformance/host-tensor';
import {
  type CaseInputs,
  type CaseTensors,
  declareOperation,
  type OperationCase,
} from '../conformance/operation-declaration';
import { decoderStepLayerInputs, XgDecoderStep } from '../kernel-names';
import { decoderStep, type DecoderStepLayer, type DecoderStepModel, type DecoderStepOptions } from './decoder-step';
import { referenceQuery } from './grouped-query-attention.cases';
import { referenceLinear } from './linear.cases';
import { referenceSwiglu } from './linear-swiglu.cases';
import { referenceRmsNorm } from './rms-norm.cases';
import { referenceRope } from './rope.cases';

interface Sizes {
  layers: number;
  width: number;
  inner: number;
  vocabulary: number;
}

/**
 * Blocks are handed out from the end of the pool, alternating between sequences; positions run ahead of the contexts, as after a prompt that was cut. With
 * ids the tokens are rows of a table of nine.
 */
function stepCase(
  contexts: number[],
  sizes: Sizes,
  options: DecoderStepOptions,
  ids?: number[],
): OperationCase<DecoderStepOptions> {
  const { layers, width, inner, vocabulary } = sizes;
  const { queryHeads, keyValueHeads, headDimension, blockSize } = options;
  const blocksOf = contexts.map((context) => Math.ceil(context / blockSize));
  const maximumBlocks = Math.max(...blocksOf);
  const blocks = blocksOf.reduce((a, b) => a + b, 0) + 1;
  const tables = new Int32Array(contexts.length * maximumBlocks).fill(-1);
  let next = blocks - 1;
  for (let block = 0; block < maximumBlocks; block++) {
    blocksOf.forEach((count, sequence) => {
      if (block < count) tables[sequence * maximumBlocks + block] = next--;
    });
  }
  const slots = contexts.map((context, sequence) => {
    const last = context - 1;
    return tables[sequence * maximumBlocks + Math.floor(last / blockSize)] * blockSize + (last % blockSize);
  });
  const [attended, cached] = [queryHeads * headDimension, keyValueHeads * headDimension];
  let seed = 10;
  const matrix = (rows: number, columns: number): HostTensor => normal([rows, columns], seed++, 1 / Math.sqrt(columns));
  const norm = (): HostTensor => normal([width], seed++, 0.2, 1);
  const inputs: CaseInputs = {
    ...(ids === undefined
      ? { stream: normal([contexts.length, width], 1) }
      : { table: normal([9, width], 1), ids: integers([ids.length], ids) }),
    positions: integers(
      [contexts.length],
      contexts.map((context) => context + 2),
    ),
    slots: integers([contexts.length], slots),
    contextLengths: integers([contexts.length], contexts),
    blockTables: integers([contexts.length, maximumBlocks], tables),
    inverseFrequencies: floats(
      [headDimension / 2],
      Array.from({ length: headDimension / 2 }, (_, i) => 10000 ** ((-2 * i) / headDimension)),
    ),
    finalNorm: norm(),
    head: matrix(vocabulary, width),
  };
  for (let layer = 0; layer < layers; layer++) {
    const own: Record<(typeof decoderStepLayerInputs)[number], HostTensor> = {
      attentionNorm: norm(),
      qkv: matrix(attended + 2 * cached, width),
      output: matrix(width, attended),
      feedForwardNorm: norm(),
      gateUp: matrix(2 * inner, width),
      down: matrix(width, inner),
      keyCache: normal([blocks * blockSize, cached], seed++),
      valueCache: normal([blocks * blockSize, cached], seed++),
    };
    for (const name of decoderStepLayerInputs) inputs[`${name}${layer}`] = own[name];
  }
  return {
    name:
      `contexts ${contexts.join(', ')}; ${layers} layers of ${width} and ${inner}, V ${vocabulary}, ` +
      `${queryHeads}/${keyValueHeads} heads of ${headDimension}, blocks of ${blockSize}` +
      (ids === undefined ? '' : `, rows ${ids.join(', ')} of a table`) +
      (options.advance ? ', advancing' : ''),
    inputs,
    attributes: options,
  };
}

const layersOf = (inputs: CaseInputs | CaseTensors): number =>
  Object.keys(inputs).filter((name) => /^qkv\d/.test(name)).length;

const owned = (source: Tensor): Variable => variable(tensor(source.dataSync().slice(), source.shape, 'float32'), false);

function modelOf(inputs: CaseTensors): DecoderStepModel {
  const layers = Array.from({ length: layersOf(inputs) }, (_, layer) => {
    const own = Object.fromEntries(decoderStepLayerInputs.map((name) => [name, inputs[`${name}${layer}`]]));
    return { ...own, keyCache: owned(own.keyCache), valueCache: owned(own.valueCache) } as unknown as DecoderStepLayer;
  });
  const { finalNorm, head, inverseFrequencies } = inputs;
  return { layers, finalNorm, head, inverseFrequencies };
}

/** Logits, then keys and values of every layer, then the counters that advance. */
function reference(inputs: CaseInputs, options: DecoderStepOptions): Float64Array[] {
  const { queryHeads, keyValueHeads, headDimension, blockSize, epsilon, attentionScaling } = options;
  const { positions, inverseFrequencies, slots, contextLengths, blockTables } = inputs;
  const scale = options.scale ?? 1 / Math.sqrt(headDimension);
  const { table, ids } = inputs;
  const [rows, width] = [positions.shape[0], inputs.finalNorm.shape[0]];
  const [attendedWidth, cached] = [queryHeads * headDimension, keyValueHeads * headDimension];
  const of = (shape: number[], values: Float64Array): HostTensor => ({ shape, dtype: 'float32', values });
  const plus = (a: HostTensor, b: Float64Array): HostTensor => ({
    ...a,
    values: b.map((value, i) => value + a.values[i]),
  });
  const normalized = (x: HostTensor, norm: HostTensor): HostTensor =>
    of([rows, width], referenceRmsNorm(x, norm, epsilon));
  const caches: Float64Array[] = [];
  const row = (id: number): number[] => [...table.values.subarray(id * width, (id + 1) * width)];
  let stream = inputs.stream ?? of([rows, width], Float64Array.from([...ids.values].flatMap(row)));
  for (let layer = 0; layer < layersOf(inputs); layer++) {
    const own = Object.fromEntries(decoderStepLayerInputs.map((name) => [name, inputs[`${name}${layer}`]]));
    const rowWidth = attendedWidth + 2 * cached;
    const projected = of([rows, rowWidth], referenceLinear(normalized(stream, own.attentionNorm), own.qkv));
    const rotatedHeads = queryHeads + keyValueHeads;
    const qkv = referenceRope(projected, positions, inverseFrequencies, {
      rotatedHeads,
      headDimension,
      attentionScaling,
    });
    const [keys, values] = [own.keyCache, own.valueCache].map((cache, which) => {
      const changed = Float64Array.from(cache.values);
      slots.values.forEach((slot, n) => {
        const from = n * rowWidth + attendedWidth + which * cached;
        changed.set(qkv.subarray(from, from + cached), slot * cached);
      });
      return changed;
    });
    caches.push(keys, values);
    const attended = new Float64Array(rows * attendedWidth);
    contextLengths.values.forEach((context, sequence) => {
      for (let head = 0; head < queryHeads; head++) {
        const column = Math.floor((head * keyValueHeads) / queryHeads) * headDimension;
        const at = (position: number): number =>
          blockTables.values[sequence * blockTables.shape[1] + Math.floor(position / blockSize)] * blockSize +
          (position % blockSize);
        const query = qkv.subarray(
          sequence * rowWidth + head * headDimension,
          sequence * rowWidth + (head + 1) * headDimension,
        );
        const mixed = referenceQuery(
          query,
          context,
          (position, element) => keys[at(position) * cached + column + element],
          (position, element) => values[at(position) * cached + column + element],
          scale,
        );
        attended.set(mixed, sequence * attendedWidth + head * headDimension);
      }
    });
    const middle = plus(stream, referenceLinear(of([rows, attendedWidth], attended), own.output));
    const inner = own.down.shape[1];
    const activation = referenceSwiglu(referenceLinear(normalized(middle, own.feedForwardNorm), own.gateUp), inner);
    stream = plus(middle, referenceLinear(of([rows, inner], activation), own.down));
  }
  const counters = options.advance ? [positions, slots, contextLengths] : [];
  return [
    referenceLinear(normalized(stream, inputs.finalNorm), inputs.head),
    ...caches,
    ...counters.map(({ values }) => Float64Array.from(values, (value) => value + 1)),
  ];
}

const small: DecoderStepOptions = { queryHeads: 2, keyValueHeads: 1, headDimension: 4, blockSize: 4, epsilon: 0.01 };
const heads64: DecoderStepOptions = {
  queryHeads: 2,
  keyValueHeads: 1,
  headDimension: 64,
  blockSize: 16,
  epsilon: 1e-5,
};

export const decoderStepOperation = declareOperation<DecoderStepOptions>({
  operation: 'decoderStep',
  kernels: [XgDecoderStep],
  differentiable: [],
  usesMatmulPrecision: true,
  changesInPlace: true,
  cases: [
    stepCase([1], { layers: 1, width: 8, inner: 16, vocabulary: 12 }, small),
    stepCase(
      [5, 9, 1, 30, 2],
      { layers: 2, width: 16, inner: 24, vocabulary: 20 },
      { ...small, attentionScaling: 1.25 },
    ),
    stepCase([7], { layers: 2, width: 64, inner: 72, vocabulary: 40 }, heads64),
    stepCase(
      [140, 3],
      { layers: 1, width: 72, inner: 64, vocabulary: 33 },
      { ...heads64, scale: 0.1, float32Output: true },
    ),
    stepCase(
      [1, 33, 150, 12],
      { layers: 1, width: 64, inner: 64, vocabulary: 24 },
      { ...heads64, keyValueHeads: 2, headDimension: 128 },
    ),
    stepCase([5, 9], { layers: 2, width: 16, inner: 24, vocabulary: 20 }, { ...small, advance: true }, [8, 0]),
    stepCase([7, 150], { layers: 2, width: 64, inner: 72, vocabulary: 40 }, { ...heads64, advance: true }, [3, 3]),
    stepCase([401], { layers: 1, width: 64, inner: 64, vocabulary: 24 }, heads64, [4]),
  ],
  benchmark: () =>
    stepCase(
      [512],
      { layers: 2, width: 512, inner: 1408, vocabulary: 4096 },
      { ...heads64, queryHeads: 8, keyValueHeads: 4 },
    ),
  run: (inputs, options) => {
    const model = modelOf(inputs);
    const { table, ids, blockTables } = inputs;
    const counter = (given: Tensor): Tensor =>
      options.advance ? variable(tensor(given.dataSync().slice(), given.shape, 'int32'), false) : given;
    const [positions, slots, contextLengths] = [inputs.positions, inputs.slots, inputs.contextLengths].map(counter);
    const sequences = { positions, slots, contextLengths, blockTables };
    const logits = decoderStep(inputs.stream ?? { table, ids }, model, sequences, options);
    const counters = options.advance ? [positions, slots, contextLengths] : [];
    return [logits, ...model.layers.flatMap(({ keyCache, valueCache }) => [keyCache, valueCache]), ...counters];
  },
  reference,
  failures: [
    { name: 'a slot beyond the cache', call: () => step({ slot: 12 }), code: 'OUT_OF_RANGE', readsValues: true },
    { name: 'an empty context', call: () => step({ context: 0 }), code: 'OUT_OF_RANGE', readsValues: true },
    {
      name: 'a context longer than its table',
      call: () => step({ context: 9 }),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    {
      name: 'a block outside the cache',
      call: () => step({ blocks: [0, 3] }),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    { name: 'an id outside the table', call: () => step({ id: 4 }), code: 'OUT_OF_RANGE', readsValues: true },
    { name: 'tensors that are to advance', call: () => step({}, { advance: true }), code: 'WRONG_OPTION' },
    { name: 'no layers', call: () => step({ layers: 0 }), code: 'WRONG_OPTION' },
    { name: 'a weight of another width', call: () => step({ width: 9 }), code: 'WRONG_SHAPE' },
    { name: 'an odd head', call: () => step({}, { headDimension: 3 }), code: 'WRONG_OPTION' },
    { name: 'a block size of zero', call: () => step({}, { blockSize: 0 }), code: 'WRONG_OPTION' },
    { name: 'an epsilon below zero', call: () => step({}, { epsilon: -1 }), code: 'WRONG_OPTION' },
  ],
});

/** One token of one sequence over caches of three blocks of four rows, with one thing wrong. */
function step(
  { slot = 1, context = 6, blocks = [2, 0], layers = 1, width = 8, id = -1 },
  options: Partial<DecoderStepOptions> = {},
): void {
  const layer = {
    attentionNorm: zeros([8]),
    qkv: zeros([16, 8]),
    output: zeros([8, 8]),
    feedForwardNorm: zeros([8]),
    gateUp: zeros([12, width]),
    down: zeros([8, 6]),
    keyCache: variable(zeros([12, 4]), false),
    valueCache: variable(zeros([12, 4]), false),
  };
  const model = {
    layers: Array.from({ length: layers }, () => layer),
    finalNorm: zeros([8]),
    head: zeros([5, 8]),
    inverseFrequencies: zeros([2]),
  };
  const sequences = {
    positions: tensor1d([5], 'int32'),
    slots: tensor1d([slot], 'int32'),
    contextLengths: tensor1d([context], 'int32'),
    blockTables: tensor2d([blocks], [1, 2], 'int32'),
  };
  try {
    const tokens = id < 0 ? zeros([1, 8]) : { table: zeros([4, 8]), ids: tensor1d([id], 'int32') };
    decoderStep(tokens, model, sequences, { ...small, ...options });
  } finally {
    layer.keyCache.dispose();
    layer.valueCache.dispose();
  }
}
