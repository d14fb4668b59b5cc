/** Gradients of element-wise arithmetic between two tensors, with broadcasting. */
import {
  Add,
  AddN,
  cast,
  clone,
  div,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  Maximum,
  Minimum,
  mul,
  Multiply,
  neg,
  pow,
  Pow,
  RealDiv,
  scalar,
  Select,
  square,
  SquaredDifference,
  sub,
  Sub,
  type Tensor,
  where,
  zerosLike,
} from '@tensorflow/tfjs-core';
import { registerBinary, registerOnce } from './register';

/** `dy` where `condition` holds, else 0. */
function masked(dy: Tensor, condition: Tensor): Tensor {
  return mul(dy, cast(condition, 'float32'));
}

export function registerArithmeticGradients(): void {
  registerBinary(
    Add,
    (dy) => dy,
    (dy) => dy,
  );
  registerBinary(
    Sub,
    (dy) => dy,
    (dy) => neg(dy),
  );
  registerBinary(
    Multiply,
    (dy, _, b) => mul(dy, cast(b, 'float32')),
    (dy, a) => mul(dy, cast(a, 'float32')),
  );
  registerBinary(
    RealDiv,
    (dy, _, b) => div(dy, cast(b, 'float32')),
    (dy, a, b) => neg(div(mul(dy, cast(a, 'float32')), square(cast(b, 'float32')))),
  );
  registerBinary(
    SquaredDifference,
    (dy, a, b) => mul(mul(dy, sub(a, b)), scalar(2)),
    (dy, a, b) => mul(mul(dy, sub(b, a)), scalar(2)),
  );
  // On a tie the whole gradient goes to `a`, as in tfjs.
  registerBinary(
    Maximum,
    (dy, a, b) => masked(dy, greaterEqual(a, b)),
    (dy, a, b) => masked(dy, less(a, b)),
  );
  registerBinary(
    Minimum,
    (dy, a, b) => masked(dy, lessEqual(a, b)),
    (dy, a, b) => masked(dy, greater(a, b)),
  );
  registerBinary(
    Pow,
    (dy, a, b) => mul(dy, mul(cast(b, 'float32'), pow(a, sub(b, scalar(1, b.dtype as 'float32'))))),
    // d/db a^b = a^b · ln a, taken as 0 where a ≤ 0: there it is undefined.
    (dy, a, b) => mul(mul(dy, pow(a, b)), where(greater(a, zerosLike(a)), log(a), zerosLike(a))),
  );
  registerOnce({
    kernelName: AddN,
    saveAllInputs: true,
    gradFunc: (dy, saved) => Object.fromEntries(saved.map((_, index) => [index, () => clone(dy as Tensor)])),
  });
  registerOnce({
    kernelName: Select,
    inputsToSave: ['condition'],
    gradFunc: (dy, saved) => {
      const condition = cast(saved[0], 'float32');
      const gradient = dy as Tensor;
      return {
        condition: () => zerosLike(condition),
        t: () => mul(gradient, condition),
        e: () => mul(gradient, sub(scalar(1), condition)),
      };
    },
  });
}
