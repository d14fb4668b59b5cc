/**
 * Seeded initial values. Matrices: normal, standard deviation 0.02 (GPT-2 and Llama alike) unless told otherwise; those that write into the
 * residual stream (o_proj, down_proj) divided by √(2·layers), so that the stream's variance does not grow with depth
 * (GPT-2, section 2.3). Norms: ones. Each part draws from a stream of its own, named by the file's tensor name: values
 * depend neither on the order of creation nor on fusing.
 */
import type { ModelConfig } from '../config/model-config.js';
import { ModelError } from '../errors.js';
import { RandomGenerator } from '../util/random-generator.js';
import { elementCount, type ParameterLayout } from './parameter-layout.js';

export interface InitializeOptions {
  /** An integer from 0 to 2^53 − 1. */
  seed: number;
  /** Of every matrix; default 0.02. Narrow models look things up sooner with about 1/√hiddenSize: attention starts less flat. */
  standardDeviation?: number;
  /** Of the token embedding and an untied head; default `standardDeviation`. */
  embeddingStandardDeviation?: number;
  /** Divide by √(2·layers) in the projections into the residual stream; default true. */
  scaleResidualOutputs?: boolean;
}

/** Checks the options once; the result gives each parameter's values. About 60 ns a value. */
export function parameterInitializer(
  { layers }: ModelConfig,
  {
    seed,
    standardDeviation = 0.02,
    embeddingStandardDeviation = standardDeviation,
    scaleResidualOutputs = true,
  }: InitializeOptions,
): (layout: ParameterLayout) => Float32Array {
  for (const [name, value] of Object.entries({ standardDeviation, embeddingStandardDeviation })) {
    if (value >= 0 && Number.isFinite(value)) continue;
    throw new ModelError('INVALID_ARGUMENT', `${name} ${value} is not a number ≥ 0.`, {
      value,
      remedy: '0.02 is usual.',
    });
  }
  const root = new RandomGenerator(seed);
  return ({ shape, initialValue, parts }) => {
    const values = new Float32Array(elementCount(shape));
    if (initialValue === 'ones') return values.fill(1);
    const scaled = initialValue === 'residual' && scaleResidualOutputs;
    const base = initialValue === 'embedding' ? embeddingStandardDeviation : standardDeviation;
    const deviation = scaled ? base / Math.sqrt(2 * layers) : base;
    let at = 0;
    for (const part of parts) {
      const count = elementCount(part.shape);
      root.fork(part.name).fillNormal(values.subarray(at, at + count), 0, deviation);
      at += count;
    }
    return values;
  };
}
