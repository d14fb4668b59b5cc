/**
 * Inputs of conformance cases: arrays on the host, float32-representable, made from a seed.
 *
 * References read them as float64; backends get the same numbers as tensors, so no error comes from rounding the inputs.
 */
import { tensor, type Tensor } from '@tensorflow/tfjs-core';

export interface HostTensor {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
  readonly values: Float64Array | Int32Array;
}

/** A small seeded generator (mulberry32), good enough for test data. */
export function seededUniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Standard normal numbers (Box-Muller) from a seed. */
export function seededNormal(seed: number): () => number {
  const uniform = seededUniform(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** So many normal numbers are drawn; longer lists repeat them. A prime, so that no row of a matrix equals the next. */
const drawn = 65_521;

/** float32-representable normal numbers from a seed. */
export function normalValues(count: number, seed: number, deviation = 1, mean = 0): Float64Array {
  const next = seededNormal(seed);
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) values[i] = i < drawn ? Math.fround(mean + deviation * next()) : values[i - drawn];
  return values;
}

/** float32 tensor of normal numbers with the given standard deviation and mean. */
export function normal(shape: readonly number[], seed: number, deviation = 1, mean = 0): HostTensor {
  return { shape, dtype: 'float32', values: normalValues(sizeOf(shape), seed, deviation, mean) };
}

/** float32 tensor of the given numbers, rounded to float32. */
export function floats(shape: readonly number[], values: ArrayLike<number>): HostTensor {
  return { shape, dtype: 'float32', values: Float64Array.from(values, Math.fround) };
}

export function integers(shape: readonly number[], values: ArrayLike<number>): HostTensor {
  return { shape, dtype: 'int32', values: Int32Array.from(values) };
}

/** int32 [N] of ids below `limit`, from a seed. */
export function randomIds(count: number, limit: number, seed: number): HostTensor {
  const next = seededUniform(seed);
  return integers(
    [count],
    Array.from({ length: count }, () => Math.floor(next() * limit)),
  );
}

/** cumulativeLengths of documents with the given lengths. */
export function documents(...lengths: number[]): HostTensor {
  const ends = [0];
  for (const length of lengths) ends.push(ends[ends.length - 1] + length);
  return integers([ends.length], ends);
}

/** Positions inside documents of the given lengths. */
export function documentPositions(...lengths: number[]): HostTensor {
  const positions = lengths.flatMap((length) => Array.from({ length }, (_, position) => position));
  return integers([positions.length], positions);
}

export function toTensor({ shape, dtype, values }: HostTensor): Tensor {
  const copy = dtype === 'float32' ? Float32Array.from(values) : Int32Array.from(values);
  return tensor(copy, [...shape], dtype);
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
