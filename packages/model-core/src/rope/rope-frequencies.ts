/**
 * Inverse frequencies of rotary position embeddings. Pair i of a head of size d turns by position · θ_i, plainly with
 * θ_i = base^(−2i/d) (RoFormer, arXiv 2104.09864). The scalings follow transformers' modeling_rope_utils, so that a
 * checkpoint behaves the same there. Computed in float64, rounded once.
 */
import type { RopeConfig, YarnRopeScaling } from '../config/model-config.js';
import { ModelError } from '../errors.js';

export interface RopeFrequencies {
  /** [headDimension / 2], radians a position. */
  inverseFrequencies: Float32Array;
  /** Multiplies cosines and sines (so attention scores by its square); 1 except under YaRN. */
  attentionScaling: number;
}

/** NTK-aware change of base for a context `factor` times longer: base · factor^(d/(d−2)). */
export function ntkBase(base: number, factor: number, headDimension: number): number {
  if (!(headDimension > 2)) {
    throw new ModelError('INVALID_ARGUMENT', `ntkBase needs a headDimension above 2, not ${headDimension}.`, {
      value: headDimension,
      remedy: 'Pass the size of one head.',
    });
  }
  return base * factor ** (headDimension / (headDimension - 2));
}

function plain(base: number, headDimension: number): number[] {
  return Array.from({ length: headDimension / 2 }, (_, i) => base ** ((-2 * i) / headDimension));
}

/** Between `low` and `high` wavelengths a blend, above it divided by the factor (Llama 3.1's apply_scaling). */
function llama3(
  frequencies: number[],
  factor: number,
  lowFrequencyFactor: number,
  highFrequencyFactor: number,
  original: number,
): number[] {
  return frequencies.map((frequency) => {
    const turns = (original * frequency) / (2 * Math.PI);
    if (turns > highFrequencyFactor) return frequency;
    if (turns < lowFrequencyFactor) return frequency / factor;
    const smooth = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** NTK-by-parts (YaRN, arXiv 2309.00071, section 3.2): interpolate slow pairs, keep fast ones, ramp between. */
function yarn(base: number, headDimension: number, maximumPositions: number, scaling: YarnRopeScaling): number[] {
  const { factor, betaFast = 32, betaSlow = 1, truncate = true } = scaling;
  const original = scaling.originalMaximumPositions ?? maximumPositions;
  const pairOfTurns = (turns: number): number =>
    (headDimension * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  let low = pairOfTurns(betaFast);
  let high = pairOfTurns(betaSlow);
  if (truncate) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, headDimension - 1);
  if (low === high) high += 0.001;
  return plain(base, headDimension).map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
    return (frequency / factor) * ramp + frequency * (1 - ramp);
  });
}

/** The paper's 0.1·ln(s) + 1 (section 3.4), or DeepSeek's ratio where both its scales are given. */
function yarnAttentionScaling({ factor, attentionFactor, mscale, mscaleAllDimensions }: YarnRopeScaling): number {
  if (attentionFactor !== undefined) return attentionFactor;
  const magnitude = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  return mscale !== undefined && mscaleAllDimensions !== undefined
    ? magnitude(mscale) / magnitude(mscaleAllDimensions)
    : magnitude(1);
}

/**
 * The frequencies for a validated configuration. `sequenceLength` (positions seen, default `maximumPositions`)
 * matters to `dynamic` alone: up to `maximumPositions` it is plain RoPE, beyond it the base grows with the length.
 */
export function ropeFrequencies(
  rope: RopeConfig,
  headDimension: number,
  maximumPositions: number,
  sequenceLength: number = maximumPositions,
): RopeFrequencies {
  const { base, scaling } = rope;
  const result = (frequencies: number[], attentionScaling = 1): RopeFrequencies => ({
    inverseFrequencies: Float32Array.from(frequencies),
    attentionScaling,
  });
  switch (scaling?.type) {
    case undefined:
      return result(plain(base, headDimension));
    case 'linear':
      return result(plain(base, headDimension).map((frequency) => frequency / scaling.factor));
    case 'dynamic': {
      const length = Math.max(sequenceLength, maximumPositions);
      const stretch = (scaling.factor * length) / maximumPositions - (scaling.factor - 1);
      return result(plain(ntkBase(base, stretch, headDimension), headDimension));
    }
    case 'llama3':
      return result(
        llama3(
          plain(base, headDimension),
          scaling.factor,
          scaling.lowFrequencyFactor,
          scaling.highFrequencyFactor,
          scaling.originalMaximumPositions,
        ),
      );
    case 'yarn':
      return result(yarn(base, headDimension, maximumPositions, scaling), yarnAttentionScaling(scaling));
  }
}
