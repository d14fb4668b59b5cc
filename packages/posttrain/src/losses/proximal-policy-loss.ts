/**
 * PPO's clipped losses of a set of tokens and their gradients by hand, in float64 on the host: a token is six
 * numbers, and one pass yields losses, gradients and every metric.
 */

export interface ProximalPolicyInput {
  /** [R]; log-probability of the sampled token under the policy being trained. */
  logProbabilities: ArrayLike<number>;
  /** [R]; under the policy that sampled. */
  oldLogProbabilities: ArrayLike<number>;
  advantages: ArrayLike<number>;
  values: ArrayLike<number>;
  oldValues: ArrayLike<number>;
  returns: ArrayLike<number>;
}

export interface ProximalPolicyOptions {
  clipRange: number;
  /** null: no clipping. */
  valueClipRange: number | null;
  valueCoefficient: number;
  /** What sums over tokens are divided by; default R. Give the minibatch's tokens when R is only a part of it. */
  normalizer?: number;
}

export interface ProximalPolicyOutput {
  /** policyLoss + valueCoefficient · valueLoss */
  loss: number;
  policyLoss: number;
  /** ½·mean of the larger of the clipped and the unclipped squared error. */
  valueLoss: number;
  /** mean of (ratio − 1) − log ratio: an unbiased, positive estimate of KL(old ‖ new) (Schulman's k3). */
  approximateKl: number;
  /** Share of tokens whose gradient the clip cut off. */
  clipFraction: number;
  ratioMaximum: number;
  /** [R]; of `loss`. */
  logProbabilityGradients: Float32Array;
  valueGradients: Float32Array;
}

/** arXiv 1707.06347, eq. 7 and 9, a token of an answer being a step (arXiv 2203.02155, section C.4). */
export function proximalPolicyLoss(
  { logProbabilities, oldLogProbabilities, advantages, values, oldValues, returns }: ProximalPolicyInput,
  { clipRange, valueClipRange, valueCoefficient, normalizer }: ProximalPolicyOptions,
): ProximalPolicyOutput {
  const tokens = logProbabilities.length;
  const scale = 1 / (normalizer ?? tokens);
  const logProbabilityGradients = new Float32Array(tokens);
  const valueGradients = new Float32Array(tokens);
  let policyLoss = 0;
  let valueLoss = 0;
  let approximateKl = 0;
  let clipped = 0;
  let ratioMaximum = 0;
  for (let i = 0; i < tokens; i++) {
    const logRatio = logProbabilities[i] - oldLogProbabilities[i];
    const ratio = Math.exp(logRatio);
    const advantage = advantages[i];
    const limited = Math.min(Math.max(ratio, 1 - clipRange), 1 + clipRange);
    const cut = -advantage * limited > -advantage * ratio;
    policyLoss += -advantage * (cut ? limited : ratio);
    // d ratio / d log-probability = ratio; the limit is a constant.
    if (!cut) logProbabilityGradients[i] = -advantage * ratio * scale;
    else clipped++;
    approximateKl += ratio - 1 - logRatio;
    ratioMaximum = Math.max(ratioMaximum, ratio);

    const error = values[i] - returns[i];
    let valueError = error;
    let moves = true;
    if (valueClipRange !== null) {
      const step = values[i] - oldValues[i];
      const limitedStep = Math.min(Math.max(step, -valueClipRange), valueClipRange);
      const limitedError = oldValues[i] + limitedStep - returns[i];
      if (limitedError * limitedError > error * error) {
        valueError = limitedError;
        moves = limitedStep === step;
      }
    }
    valueLoss += 0.5 * valueError * valueError;
    if (moves) valueGradients[i] = valueCoefficient * valueError * scale;
  }
  policyLoss *= scale;
  valueLoss *= scale;
  return {
    loss: policyLoss + valueCoefficient * valueLoss,
    policyLoss,
    valueLoss,
    approximateKl: approximateKl * scale,
    clipFraction: clipped * scale,
    ratioMaximum,
    logProbabilityGradients,
    valueGradients,
  };
}
