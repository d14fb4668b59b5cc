/**
 * Muon for the matrices inside the blocks, AdamW for embedding, head and norms. Muon (K. Jordan et al., "Muon: An optimizer for
 * hidden layers in neural networks", 2024) replaces a matrix's momentum by the nearest semi-orthogonal matrix, found by a few
 * Newton–Schulz steps. The result is scaled to the size of an AdamW update (Liu et al., arXiv 2502.16982, eq. 4), so that
 * rates and decay mean the same for both halves.
 *
 * One moment a matrix instead of two. An update costs 5·(4·r + 2·r²/c)/(6·tokens a step) of the training step's products with the
 * matrix, r its smaller and c its larger side: about a tenth where a step has 40·r tokens.
 */
import * as tf from '@tensorflow/tfjs-core';
import { parameterLayout, type ModelConfig } from '@xgen-small/model-core';
import type { MuonOptions } from '../stage/stage';
import { createAdamW, defaultAdamWOptions } from './adam-w';
import { disposeMoments, lookUp, zeroMoments, type Optimizer } from './optimizer';

/** By parameter name, the rows of the matrices that lie fused in it: each is orthogonalised alone. */
export type OrthogonalizedMatrices = ReadonlyMap<string, readonly number[]>;

export const defaultMomentum = 0.95;

/** Coefficients of the quintic iteration and its number of steps: singular values end within 0.7 to 1.2. */
const [a, b, c] = [3.4445, -4.775, 2.0315];
const iterations = 5;

/** Size of an AdamW update, root mean square, relative to its rate. */
const adamWUpdateSize = 0.2;

/** The matrices inside the blocks: all but embedding and head. */
export function orthogonalizedMatrices(config: ModelConfig): OrthogonalizedMatrices {
  const inner = parameterLayout(config).filter(
    ({ shape, initialValue }) => shape.length === 2 && initialValue !== 'embedding',
  );
  return new Map(inner.map(({ name, parts }) => [name, parts.map(({ shape }) => shape[0])]));
}

export function createMuon(options: MuonOptions, matrices: OrthogonalizedMatrices): Optimizer {
  const { momentum = defaultMomentum, weightDecay = defaultAdamWOptions.weightDecay } = options;
  const adamW = createAdamW(options);
  const others = <T>(map: ReadonlyMap<string, T>): Map<string, T> =>
    new Map([...map].filter(([name]) => !matrices.has(name)));
  return {
    initialize: (parameters) => ({
      step: 0,
      firstMoments: zeroMoments(parameters),
      secondMoments: zeroMoments(others(parameters)),
    }),
    update(state, parameters, gradients, { learningRate, gradientScale }) {
      for (const [name, rows] of matrices) {
        const parameter = lookUp(parameters, name, 'value');
        const moment = lookUp(state.firstMoments, name, 'moment');
        const gradient = lookUp(gradients, name, 'gradient');
        tf.tidy(() => {
          const scaled = tf.mul(gradient, gradientScale ?? 1);
          const averaged = interpolate(scaled, moment, momentum);
          moment.assign(averaged);
          const update = orthogonalizeParts(interpolate(scaled, averaged, momentum) as tf.Tensor2D, rows);
          const decayed = tf.mul(parameter, 1 - learningRate * weightDecay);
          parameter.assign(tf.sub(decayed, tf.mul(update, learningRate)));
        });
      }
      return adamW.update(state, others(parameters), gradients, { learningRate, gradientScale });
    },
    dispose: disposeMoments,
  };
}

/** (1 − weight)·from + weight·to */
function interpolate(from: tf.Tensor, to: tf.Tensor, weight: number): tf.Tensor {
  return tf.add(tf.mul(from, 1 - weight), tf.mul(to, weight));
}

/** Each group of rows orthogonalised and scaled to a root mean square of about `adamWUpdateSize`. */
function orthogonalizeParts(matrix: tf.Tensor2D, rows: readonly number[]): tf.Tensor2D {
  const parts: tf.Tensor2D[] = rows.length === 1 ? [matrix] : tf.split(matrix, [...rows]);
  const scaled = parts.map((part) =>
    tf.mul<tf.Tensor2D>(orthogonalize(part), adamWUpdateSize * Math.sqrt(Math.max(...part.shape))),
  );
  return scaled.length === 1 ? scaled[0] : tf.concat2d(scaled, 0);
}

/** About U·Vᵀ of the singular value decomposition U·S·Vᵀ; zero for zero. Call inside a tidy. */
export function orthogonalize(matrix: tf.Tensor2D): tf.Tensor2D {
  const tall = matrix.shape[0] > matrix.shape[1];
  const wide = tall ? tf.transpose(matrix) : matrix;
  let x = tf.div<tf.Tensor2D>(wide, tf.add(tf.sqrt(tf.sum(tf.square(wide))), 1e-7));
  for (let i = 0; i < iterations; i++) {
    const gram = tf.matMul(x, x, false, true);
    const quintic = tf.add<tf.Tensor2D>(tf.mul(gram, b), tf.mul(tf.matMul(gram, gram), c));
    x = tf.add(tf.mul(x, a), tf.matMul(quintic, x));
  }
  return tall ? tf.transpose(x) : x;
}
