/**
 * Checks of index tensors: ids inside a table, document borders in order.
 *
 * On backends whose tensors lie in this process's memory the values are read in place, O(N) integer compares, nothing against
 * the operation itself. Elsewhere reading them would wait for the device, so the check is left to the caller, who made them on
 * the host.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { isHostBackend, readValues } from './host-memory';

/** Throws unless every value is an integer in [0, limit), or equals `except`. */
export function checkIdRange(operation: string, name: string, ids: Tensor, limit: number, except?: number): void {
  if (!isHostBackend()) return;
  const values = readValues(ids);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if ((value < 0 || value >= limit) && value !== except) {
      throw new KernelsError(
        'OUT_OF_RANGE',
        `${operation}: ${name}[${i}] is ${value}, outside 0 … ${limit - 1}${except === undefined ? '' : ` and not ${except}`}.`,
        { value },
      );
    }
  }
}

/** Throws unless the values begin with 0, never fall, and end with `total`. */
export function checkCumulativeLengths(operation: string, name: string, lengths: Tensor, total: number): void {
  if (!isHostBackend()) return;
  const values = readValues(lengths);
  let previous = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if ((i === 0 && value !== 0) || value < previous) brokenLengths(operation, name, values, total);
    previous = value;
  }
  if (values.length < 1 || previous !== total) brokenLengths(operation, name, values, total);
}

function brokenLengths(operation: string, name: string, values: ArrayLike<number>, total: number): never {
  const shown = Array.from(values).slice(0, 16);
  throw new KernelsError(
    'BROKEN_CUMULATIVE_LENGTHS',
    `${operation}: ${name} must start with 0, never fall and end with the ${total} tokens of the batch, but is ` +
      `[${shown.join(', ')}${values.length > shown.length ? ', …' : ''}].`,
    { value: Array.from(values) },
  );
}
