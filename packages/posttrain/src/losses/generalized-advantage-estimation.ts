/** Generalised advantage estimation (arXiv 1506.02438, eq. 16) and whitening, in float64 on the host; linear cost. */

export interface GaeInput {
  /** [R], R = steps of all episodes end to end. */
  rewards: ArrayLike<number>;
  /** [R]; the value of the state before each step. After an episode's last step the value is 0. */
  values: ArrayLike<number>;
  /** [episodes + 1], first 0, last R. */
  offsets: ArrayLike<number>;
  gamma: number;
  lambda: number;
}

export interface GaeOutput {
  /** [R] */
  advantages: Float64Array;
  /** [R]; advantage + value: the target of the value function. */
  returns: Float64Array;
}

export function generalizedAdvantageEstimation({ rewards, values, offsets, gamma, lambda }: GaeInput): GaeOutput {
  const advantages = new Float64Array(rewards.length);
  const returns = new Float64Array(rewards.length);
  for (let episode = 0; episode + 1 < offsets.length; episode++) {
    let next = 0;
    let nextValue = 0;
    for (let t = offsets[episode + 1] - 1; t >= offsets[episode]; t--) {
      const delta = rewards[t] + gamma * nextValue - values[t];
      next = delta + gamma * lambda * next;
      nextValue = values[t]!;
      advantages[t] = next;
      returns[t] = next + nextValue;
    }
  }
  return { advantages, returns };
}

/** Shifted and scaled to mean 0 and standard deviation 1 (population; 1e-8 added), a new array. */
export function whiten(values: ArrayLike<number>): Float64Array {
  const { mean, standardDeviation } = meanAndStandardDeviation(values);
  return Float64Array.from(values, (value) => (value - mean) / (standardDeviation + 1e-8));
}

/** Population statistics, two passes; zeros for an empty array. */
export function meanAndStandardDeviation(values: ArrayLike<number>): { mean: number; standardDeviation: number } {
  const count = values.length;
  if (count === 0) return { mean: 0, standardDeviation: 0 };
  let sum = 0;
  for (let i = 0; i < count; i++) sum += values[i];
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (values[i] - mean) ** 2;
  return { mean, standardDeviation: Math.sqrt(squares / count) };
}
