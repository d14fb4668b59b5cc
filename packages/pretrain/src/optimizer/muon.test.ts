/** Muon against singular value decompositions known by construction and against the recurrence in float64. */
import * as tf from '@tensorflow/tfjs-core';
import { initializeBackend } from '@xgen-small/kernels';
import { RandomGenerator } from '@xgen-small/model-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyConfig } from '../../test/tiny-model';
import { createMuon, orthogonalize, orthogonalizedMatrices } from './muon';
import { optimizerVariables } from './optimizer';

beforeAll(async () => void (await initializeBackend()));

type Matrix = number[][];
const random = new RandomGenerator(3);
const normals = (rows: number, columns: number): Matrix =>
  Array.from({ length: rows }, () => Array.from({ length: columns }, () => random.normal()));
const transpose = (m: Matrix): Matrix => m[0].map((_, j) => m.map((row) => row[j]));
const product = (m: Matrix, n: Matrix): Matrix =>
  m.map((row) => n[0].map((_, j) => row.reduce((sum, value, k) => sum + value * n[k][j], 0)));
const combine = (m: Matrix, n: Matrix, f: (x: number, y: number) => number): Matrix =>
  m.map((row, i) => row.map((value, j) => f(value, n[i][j])));

/** Orthonormal columns by Gram–Schmidt. */
function orthonormal(rows: number, columns: number): Matrix {
  const basis: Matrix = [];
  for (const vector of transpose(normals(rows, columns))) {
    for (const other of basis) {
      const overlap = vector.reduce((sum, value, i) => sum + value * other[i], 0);
      other.forEach((value, i) => (vector[i] -= overlap * value));
    }
    const norm = Math.hypot(...vector);
    basis.push(vector.map((value) => value / norm));
  }
  return transpose(basis);
}

/** What five steps of the quintic make of one singular value. */
function quintic(value: number): number {
  let x = value;
  for (let i = 0; i < 5; i++) x = 3.4445 * x - 4.775 * x ** 3 + 2.0315 * x ** 5;
  return x;
}

/** The iteration on whole matrices, in float64. */
function newtonSchulz(matrix: Matrix): Matrix {
  if (matrix.length > matrix[0].length) return transpose(newtonSchulz(transpose(matrix)));
  const norm = Math.hypot(...matrix.flat());
  let x = matrix.map((row) => row.map((value) => value / norm));
  for (let i = 0; i < 5; i++) {
    const gram = product(x, transpose(x));
    const factor = combine(gram, product(gram, gram), (p, q) => -4.775 * p + 2.0315 * q);
    x = combine(x, product(factor, x), (p, q) => 3.4445 * p + q);
  }
  return x;
}

function expectClose(found: tf.Tensor, expected: Matrix, digits: number): void {
  (found.arraySync() as Matrix).forEach((row, i) =>
    row.forEach((value, j) => expect(value).toBeCloseTo(expected[i][j], digits)),
  );
}

describe('orthogonalize', () => {
  it.each([
    [4, 4],
    [4, 9],
    [9, 4],
  ])('keeps the singular vectors of a %d × %d matrix and brings its singular values near 1', (rows, columns) => {
    const singular = [10, 3, 1, 0.5];
    const [u, v] = [orthonormal(rows, 4), orthonormal(columns, 4)];
    const scaled = (values: number[]): Matrix =>
      product(
        u.map((row) => row.map((value, k) => value * values[k])),
        transpose(v),
      );
    const images = singular.map((value) => quintic(value / Math.hypot(...singular)));
    images.forEach((image) => expect(Math.abs(image - 1)).toBeLessThan(0.35));
    tf.tidy(() => expectClose(orthogonalize(tf.tensor2d(scaled(singular))), scaled(images), 4));
  });

  it('leaves a zero matrix zero', () => {
    tf.tidy(() =>
      expectClose(
        orthogonalize(tf.zeros([3, 5])),
        normals(3, 5).map((row) => row.map(() => 0)),
        9,
      ),
    );
  });
});

describe('createMuon', () => {
  it('takes the matrices inside the blocks, with the rows of those that are fused', () => {
    const matrices = orthogonalizedMatrices(tinyConfig);
    expect(matrices.size).toBe(4 * tinyConfig.layers);
    expect(matrices.get('model.layers.0.self_attn.qkv_proj.weight')).toEqual([16, 8, 8]);
    expect(matrices.get('model.layers.1.mlp.gate_up_proj.weight')).toEqual([32, 32]);
    expect(matrices.get('model.layers.1.mlp.down_proj.weight')).toEqual([16]);
  });

  it('follows momentum, orthogonalisation by part and decay in float64; the rest is AdamW', () => {
    const [rows, columns] = [[4, 2], 3];
    const muon = createMuon({ momentum: 0.9, weightDecay: 0.2, beta1: 0, beta2: 0 }, new Map([['inner', rows]]));
    let expected = normals(6, columns);
    let moment = expected.map((row) => row.map(() => 0));
    const parameters = new Map([
      ['inner', tf.tidy(() => tf.variable(tf.tensor2d(expected)))],
      ['embedding', tf.tidy(() => tf.variable(tf.ones([2, 2])))],
    ]);
    let state = muon.initialize(parameters);
    expect([...optimizerVariables(state).keys()]).toEqual([
      'firstMoments.inner',
      'firstMoments.embedding',
      'secondMoments.embedding',
    ]);
    const before = tf.memory().numTensors;
    for (let step = 1; step <= 8; step++) {
      const learningRate = 0.1 / step;
      const gradient = normals(6, columns);
      const gradients = new Map<string, tf.Tensor>([
        ['inner', tf.tensor2d(gradient)],
        ['embedding', tf.ones([2, 2])],
      ]);
      const gradientScale = tf.scalar(0.5);
      state = muon.update(state, parameters, gradients, { learningRate, gradientScale });
      tf.dispose([...gradients.values(), gradientScale]);
      moment = combine(gradient, moment, (g, m) => 0.1 * 0.5 * g + 0.9 * m);
      const nesterov = combine(gradient, moment, (g, m) => 0.1 * 0.5 * g + 0.9 * m);
      const update = [nesterov.slice(0, 4), nesterov.slice(4)].flatMap((part) => {
        const size = 0.2 * Math.sqrt(Math.max(part.length, columns));
        return newtonSchulz(part).map((row) => row.map((value) => value * size));
      });
      expected = combine(expected, update, (p, u) => p * (1 - learningRate * 0.2) - learningRate * u);
      expectClose(parameters.get('inner')!, expected, 4);
    }
    expect(tf.memory().numTensors).toBe(before);
    expect(state.step).toBe(8);
    // with both betas 0, AdamW moves every element by the rate, and the decay shrinks it
    const embedding = [1, 2, 3, 4, 5, 6, 7, 8].reduce((p, step) => p * (1 - (0.1 / step) * 0.2) - 0.1 / step, 1);
    expectClose(
      parameters.get('embedding')!,
      [
        [embedding, embedding],
        [embedding, embedding],
      ],
      4,
    );
    muon.dispose(state);
    tf.dispose([...parameters.values()]);
  });
});
