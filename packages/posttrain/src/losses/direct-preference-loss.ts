/**
 * The DPO and IPO losses of a group of pairs and their gradients by hand, in float64 on the host: a pair is four
 * numbers, so nothing is gained on a device.
 */

export interface DirectPreferenceInput {
  /** [pairs]; log-probability of the whole answer under the policy (for 'ipo': its mean a token). */
  chosen: ArrayLike<number>;
  rejected: ArrayLike<number>;
  /** [pairs]; the same under the reference. Ignored where `referenceFree`. */
  referenceChosen: ArrayLike<number>;
  referenceRejected: ArrayLike<number>;
}

export interface DirectPreferenceOptions {
  beta: number;
  /** 'sigmoid': arXiv 2305.18290, eq. 7. 'ipo': arXiv 2310.12036, eq. 17, (h − 1/(2β))². */
  loss: 'sigmoid' | 'ipo';
  labelSmoothing: number;
  referenceFree: boolean;
}

export interface DirectPreferenceOutput {
  /** [pairs] */
  losses: Float64Array;
  /** [pairs]; β·log(policy / reference). */
  chosenRewards: Float64Array;
  rejectedRewards: Float64Array;
  /** [pairs]; of each pair's own loss with respect to `chosen` (and, negated, `rejected`). */
  gradients: Float64Array;
}

/** log(1 / (1 + e^−x)) without overflow. */
const logSigmoid = (x: number): number => (x >= 0 ? -Math.log1p(Math.exp(-x)) : x - Math.log1p(Math.exp(x)));
const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

export function directPreferenceLoss(
  { chosen, rejected, referenceChosen, referenceRejected }: DirectPreferenceInput,
  { beta, loss, labelSmoothing, referenceFree }: DirectPreferenceOptions,
): DirectPreferenceOutput {
  const pairs = chosen.length;
  const output: DirectPreferenceOutput = {
    losses: new Float64Array(pairs),
    chosenRewards: new Float64Array(pairs),
    rejectedRewards: new Float64Array(pairs),
    gradients: new Float64Array(pairs),
  };
  for (let i = 0; i < pairs; i++) {
    const chosenRatio = chosen[i] - (referenceFree ? 0 : referenceChosen[i]);
    const rejectedRatio = rejected[i] - (referenceFree ? 0 : referenceRejected[i]);
    const h = chosenRatio - rejectedRatio;
    output.chosenRewards[i] = beta * chosenRatio;
    output.rejectedRewards[i] = beta * rejectedRatio;
    if (loss === 'ipo') {
      const distance = h - 1 / (2 * beta);
      output.losses[i] = distance * distance;
      output.gradients[i] = 2 * distance;
    } else {
      const z = beta * h;
      output.losses[i] = -(1 - labelSmoothing) * logSigmoid(z) - labelSmoothing * logSigmoid(-z);
      output.gradients[i] = beta * (-(1 - labelSmoothing) * sigmoid(-z) + labelSmoothing * sigmoid(z));
    }
  }
  return output;
}
