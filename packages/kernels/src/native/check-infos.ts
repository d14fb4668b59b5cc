/**
 * Shape and dtype checks of kernels, by letters: equal letters must have equal sizes across a kernel's inputs. The public operations
 * check first and say more; these guard the addon against any other caller.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';

type Dtype = 'float32' | 'int32';

/** Checks `[name, info, dtype, ...axes]` each; returns the size behind each letter. */
export function checkInfos(
  ...specifications: readonly (readonly [name: string, info: TensorInfo, dtype: Dtype, ...axes: (string | number)[]])[]
): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const [name, info, dtype, ...axes] of specifications) {
    if (info === undefined || info === null) throw new KernelsError('MISSING_INPUT', `the input ${name} is missing.`);
    if (info.dtype !== dtype) {
      throw new KernelsError('WRONG_DTYPE', `${name} must be ${dtype}, but is ${info.dtype}.`, { value: info.dtype });
    }
    let matches = info.shape.length === axes.length;
    for (let axis = 0; matches && axis < axes.length; axis++) {
      const letter = axes[axis];
      const size = info.shape[axis];
      if (typeof letter === 'number') matches = letter === size;
      else if (letter in sizes) matches = sizes[letter] === size;
      else sizes[letter] = size;
    }
    if (!matches) {
      const wanted = axes.map((letter) =>
        typeof letter === 'string' && letter in sizes ? `${letter} = ${sizes[letter]}` : letter,
      );
      throw new KernelsError(
        'WRONG_SHAPE',
        `${name} must have shape [${wanted.join(', ')}], but has [${info.shape.join(', ')}].`,
        { value: info.shape },
      );
    }
  }
  return sizes;
}

/** Throws unless every named value is a whole number of at least 1. */
export function checkCounts(values: Record<string, number>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isInteger(value) || value < 1) {
      throw new KernelsError('WRONG_OPTION', `${name} must be a whole number of at least 1, but is ${value}.`, {
        value,
      });
    }
  }
}

/** Product of a shape's axes from `first` to before `last`. */
export function sizeBetween(shape: readonly number[], first: number, last: number = shape.length): number {
  let size = 1;
  for (let axis = first; axis < last; axis++) size *= shape[axis];
  return size;
}
