import { type Tensor, tensor1d, variable, type Variable, zeros } from '@tensorflow/tfjs-core';
import { floats, type HostTensor, integers, normal, seededUniform } from '../conformance/host-tensor';
import { type CaseInputs, declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgSampleTokens, XgSampleTokensInto } from '../kernel-names';
import { sampleTokens } from './sample-tokens';

interface Row {
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  uniform?: number;
}

interface Attributes {
  /** A variable takes the ids as well. */
  into: boolean;
}

function sampleCase(name: string, logits: HostTensor, rows: Row[], into = false): OperationCase<Attributes> {
  const column = (value: (row: Row) => number): number[] => rows.map(value);
  const size = [rows.length];
  return {
    name,
    inputs: {
      logits,
      temperature: floats(
        size,
        column(({ temperature = 1 }) => temperature),
      ),
      topK: integers(
        size,
        column(({ topK = 0 }) => topK),
      ),
      topP: floats(
        size,
        column(({ topP = 1 }) => topP),
      ),
      minP: floats(
        size,
        column(({ minP = 0 }) => minP),
      ),
      uniforms: floats(
        size,
        column(({ uniform = 0.5 }) => uniform),
      ),
    },
    attributes: { into },
  };
}

/** Uniforms spread over [0, 1), away from float32's edge. */
function uniforms(count: number, seed: number): number[] {
  const next = seededUniform(seed);
  return Array.from({ length: count }, () => 0.001 + 0.998 * next());
}

/** The definition taken word by word: a full sort, then one filter after the other over a list of survivors. */
function referenceRow(logits: ArrayLike<number>, row: Required<Row>): [number, number] {
  const all = Array.from(logits, (logit, id) => ({ id, logit }));
  const ranked = [...all].sort((a, b) => b.logit - a.logit || a.id - b.id);
  const normalizer =
    Math.log(all.reduce((sum, { logit }) => sum + Math.exp(logit - ranked[0].logit), 0)) + ranked[0].logit;
  const chosen = (id: number): [number, number] => [id, logits[id] - normalizer];
  if (row.temperature === 0) return chosen(ranked[0].id);
  const mass = all.reduce((sum, { logit }) => sum + Math.exp((logit - ranked[0].logit) / row.temperature), 0);
  const probability = (logit: number): number => Math.exp((logit - ranked[0].logit) / row.temperature) / mass;
  let survivors = row.topK > 0 ? ranked.slice(0, row.topK) : ranked;
  if (row.topP < 1) {
    const kept = survivors.reduce((sum, { logit }) => sum + probability(logit), 0);
    let before = 0;
    survivors = survivors.filter(({ logit }, rank) => {
      const stays = rank === 0 || before < row.topP * kept;
      before += probability(logit);
      return stays;
    });
  }
  survivors = survivors.filter(({ logit }) => probability(logit) >= row.minP * probability(ranked[0].logit));
  survivors.sort((a, b) => a.id - b.id);
  const total = survivors.reduce((sum, { logit }) => sum + probability(logit), 0);
  let running = 0;
  for (const { id, logit } of survivors) {
    running += probability(logit);
    if (running > row.uniform * total) return chosen(id);
  }
  return chosen(survivors[survivors.length - 1].id);
}

function reference(
  { logits, temperature, topK, topP, minP, uniforms: draws }: CaseInputs,
  { into }: Attributes,
): Float64Array[] {
  const [rows, columns] = logits.shape;
  const results = Array.from({ length: rows }, (_, row) =>
    referenceRow(logits.values.slice(row * columns, (row + 1) * columns), {
      temperature: temperature.values[row],
      topK: topK.values[row],
      topP: topP.values[row],
      minP: minP.values[row],
      uniform: draws.values[row],
    }),
  );
  const ids = Float64Array.from(results, ([id]) => id);
  const logProbabilities = Float64Array.from(results, ([, logProbability]) => logProbability);
  return into ? [ids, logProbabilities, ids] : [ids, logProbabilities];
}

const draws = (count: number, seed: number, row: Row): Row[] =>
  uniforms(count, seed).map((uniform) => ({ ...row, uniform }));

export const sampleTokensOperation = declareOperation<Attributes>({
  operation: 'sampleTokens',
  kernels: [XgSampleTokens, XgSampleTokensInto],
  differentiable: [],
  usesMatmulPrecision: false,
  cases: [
    sampleCase('greedy, ties go to the lowest id', floats([2, 4], [1, 3, 3, 2, -5, -5, -5, -5]), [
      { temperature: 0 },
      { temperature: 0 },
    ]),
    sampleCase('one token', floats([1, 1], [0.3]), [{}]),
    sampleCase('no filter', normal([40, 33], 1, 2), draws(40, 2, {})),
    sampleCase('temperature', normal([20, 100], 3, 2), draws(20, 4, { temperature: 0.7 })),
    sampleCase('topK', normal([20, 50], 5, 2), draws(20, 6, { topK: 5, temperature: 1.5 })),
    sampleCase('topK 1 is greedy', normal([5, 50], 7, 2), draws(5, 8, { topK: 1 })),
    sampleCase('topK above the vocabulary', normal([5, 9], 9, 2), draws(5, 10, { topK: 100 })),
    sampleCase('topP', normal([20, 257], 11, 2), draws(20, 12, { topP: 0.8 })),
    sampleCase('a topP that leaves one', normal([5, 20], 13, 2), draws(5, 14, { topP: 1e-6 })),
    sampleCase('minP', normal([20, 64], 15, 2), draws(20, 16, { minP: 0.1 })),
    sampleCase(
      'all filters',
      normal([20, 128], 17, 2),
      draws(20, 18, { temperature: 1.2, topK: 20, topP: 0.9, minP: 0.02 }),
    ),
    sampleCase('rows of different settings', normal([3, 40], 19, 3), [
      { temperature: 0 },
      { temperature: 2, topP: 0.5, uniform: 0.25 },
      { topK: 3, uniform: 0.75 },
    ]),
    sampleCase('ties across the topK border', floats([2, 5], [1, 2, 2, 2, 0, 1, 2, 2, 2, 0]), [
      { topK: 2, uniform: 0.25 },
      { topK: 2, uniform: 0.75 },
    ]),
    sampleCase('forbidden tokens', floats([2, 3], [-Infinity, 1, 1, 0, -Infinity, -Infinity]), [
      { uniform: 0 },
      { uniform: 0.99 },
    ]),
    sampleCase('into a variable', normal([4, 50], 21, 2), [{ temperature: 0 }, ...draws(3, 22, { topK: 9 })], true),
  ],
  benchmark: () => sampleCase('batch', normal([16, 8192], 1, 2), draws(16, 2, { temperature: 0.8, topP: 0.95 })),
  run: ({ logits, temperature, topK, topP, minP, uniforms: drawn }, { into }) => {
    const options = { temperature, topK, topP, minP, uniforms: drawn };
    const variables = into ? [variable(tensor1d(new Int32Array(logits.shape[0]), 'int32'), false)] : [];
    const { ids, logProbabilities } = sampleTokens(logits, options, variables[0]);
    return [ids, logProbabilities, ...variables];
  },
  reference,
  failures: [
    {
      name: 'a negative temperature',
      call: () => sample({ temperature: -1 }),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    { name: 'a negative topK', call: () => sample({ topK: -1 }), code: 'OUT_OF_RANGE', readsValues: true },
    { name: 'a topP of zero', call: () => sample({ topP: 0 }), code: 'OUT_OF_RANGE', readsValues: true },
    { name: 'a minP above one', call: () => sample({ minP: 1.5 }), code: 'OUT_OF_RANGE', readsValues: true },
    { name: 'a uniform of one', call: () => sample({ uniform: 1 }), code: 'OUT_OF_RANGE', readsValues: true },
    {
      name: 'options for another batch',
      call: () => {
        const one = tensor1d([1]);
        sampleTokens(zeros([2, 3]), {
          temperature: one,
          topK: tensor1d([0], 'int32'),
          topP: one,
          minP: one,
          uniforms: one,
        });
      },
      code: 'WRONG_SHAPE',
    },
    {
      name: 'a variable for another batch',
      call: () => {
        const into = variable(tensor1d([0, 0], 'int32'), false);
        try {
          sample({}, into);
        } finally {
          into.dispose();
        }
      },
      code: 'WRONG_SHAPE',
    },
    {
      name: 'a tensor that is no variable to take the ids',
      call: () => sample({}, tensor1d([0], 'int32') as Tensor as Variable),
      code: 'WRONG_OPTION',
    },
    {
      name: 'an empty vocabulary',
      call: () => {
        const one = tensor1d([1]);
        sampleTokens(zeros([1, 0]), {
          temperature: one,
          topK: tensor1d([0], 'int32'),
          topP: one,
          minP: one,
          uniforms: zeros([1]),
        });
      },
      code: 'WRONG_SHAPE',
    },
  ],
});

function sample({ temperature = 1, topK = 0, topP = 1, minP = 0, uniform = 0.5 }: Row, into?: Variable): void {
  const options = {
    temperature: tensor1d([temperature]),
    topK: tensor1d([topK], 'int32'),
    topP: tensor1d([topP]),
    minP: tensor1d([minP]),
    uniforms: tensor1d([uniform]),
  };
  sampleTokens(zeros([1, 3]), options, into);
}
