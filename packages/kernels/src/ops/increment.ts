/**
 * Counters that advance where they are: positions, slots and lengths of a captured decoding step, which then needs no new inputs. In place where
 * the backend can (the variable must be the only owner of its data), else the variable gets a new tensor.
 */
import { add, scalar, tidy, type Variable } from '@tensorflow/tfjs-core';
import { XgIncrement, type XgIncrementAttrs } from '../kernel-names';
import { checkInteger, checkTensors } from './check-tensors';
import { refuseRecording } from './paged-cache';
import { hasKernel, runKernel } from './run-kernel';

/**
 * variable += by, for a variable int32 [N]. Inference only.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, NO_GRADIENT (inside a differentiated function)
 */
export function increment(variable: Variable, by = 1): void {
  checkTensors('increment', { variable: [variable, 'int32', ['N']] });
  checkInteger('increment', 'by', by, -(2 ** 31));
  refuseRecording('increment');
  if (hasKernel(XgIncrement)) {
    const attributes: XgIncrementAttrs = { by };
    runKernel(XgIncrement, { variable }, attributes);
    return;
  }
  tidy(() => {
    variable.assign(add(variable, scalar(by, 'int32')));
  });
}
