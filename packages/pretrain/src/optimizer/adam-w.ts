/**
 * AdamW over a model's parameters (Loshchilov and Hutter, arXiv 1711.05101) around the fused in-place kernel. Weight decay
 * acts on matrices only, not on norm weights. Two float32 moments a parameter; an update is one pass over all of them.
 */
import { adamW } from '@xgen-small/kernels';
import type { AdamWOptions } from '../stage/stage';
import { disposeMoments, lookUp, zeroMoments, type Optimizer } from './optimizer';

export const defaultAdamWOptions: Required<AdamWOptions> = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
};

export function createAdamW(options: AdamWOptions = {}): Optimizer {
  const { weightDecay, beta1, beta2, epsilon } = { ...defaultAdamWOptions, ...options };
  return {
    initialize: (parameters) => ({
      step: 0,
      firstMoments: zeroMoments(parameters),
      secondMoments: zeroMoments(parameters),
    }),
    update(state, parameters, gradients, { learningRate, gradientScale }) {
      const names = [...parameters.keys()];
      const step = state.step + 1;
      adamW(
        {
          parameters: [...parameters.values()],
          firstMoments: names.map((name) => lookUp(state.firstMoments, name, 'first moment')),
          secondMoments: names.map((name) => lookUp(state.secondMoments, name, 'second moment')),
        },
        names.map((name) => lookUp(gradients, name, 'gradient')),
        {
          beta1,
          beta2,
          epsilon,
          learningRate,
          step,
          gradientScale,
          weightDecay: [...parameters.values()].map(({ rank }) => (rank >= 2 ? weightDecay : 0)),
        },
      );
      return { ...state, step };
    },
    dispose: disposeMoments,
  };
}
