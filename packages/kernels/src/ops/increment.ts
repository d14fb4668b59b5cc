/**
 * Counters that advance where they are: positions, slots and lengths of a captured decoding step, which then needs no new inputs. In place where
 * the backend can (each variable must be the only owner of its data), together in one launch; else the variables get new tensors.
 */
import { add, scalar, tidy, type Variable } from '@tensorflow/tfjs-core';
import { XgIncrement, type XgIncrementAttrs } from '../kernel-names';
import { checkInteger, checkTensors, checkVariables, type ArgumentSpecification } from './check-tensors';
import { refuseRecording } from './paged-cache';
import { hasKernel, runKernel } from './run-kernel';

/**
 * Each variable += by, for one variable int32 [N] or several of one length. Inference only.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, NO_GRADIENT (inside a differentiated function)
 */
export function increment(variables: Variable | readonly Variable[], by = 1): void {
  const all = Array.isArray(variables) ? (variables as readonly Variable[]) : [variables as Variable];
  const named: Record<string, Variable> = {};
  const specifications: Record<string, ArgumentSpecification> = {};
  all.forEach((variable, i) => {
    named[`variable${i}`] = variable;
    specifications[`variable${i}`] = [variable, 'int32', ['N']];
  });
  checkTensors('increment', specifications);
  checkVariables('increment', named);
  checkInteger('increment', 'by', by, -(2 ** 31));
  refuseRecording('increment');
  if (all.length === 0) return;
  if (hasKernel(XgIncrement)) {
    const attributes: XgIncrementAttrs = { by, count: all.length };
    runKernel(XgIncrement, named, attributes);
    return;
  }
  tidy(() => {
    for (const variable of all) variable.assign(add(variable, scalar(by, 'int32')));
  });
}
