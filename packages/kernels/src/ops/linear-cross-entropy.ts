/**
 * Output projection and log-likelihood of the targets in one operation, never holding all logits.
 *
 * Logits exist for a block of rows at a time, forward and backward (they are computed again); what is kept between is one
 * number a row. Cost: 2·N·D·V multiply-adds forward, three times that backward.
 */
import {
  concat,
  customGrad,
  equal,
  expandDims,
  cast,
  logSumExp,
  mul,
  oneHot,
  registerGradient,
  scalar,
  slice,
  softmax,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
  where,
  zerosLike,
} from '@tensorflow/tfjs-core';
import {
  XgExpectGradient,
  XgLinearCrossEntropy,
  XgLinearCrossEntropyGrad,
  XgLinearCrossEntropyWithGradient,
} from '../kernel-names';
import { checkpointed } from '../tape/checkpointed';
import { KernelsError } from '../kernels-error';
import { isRecording } from '../tape/engine-internals';
import { acceptMissingGradients } from '../tape/missing-gradients';
import { checkInteger, checkTensors } from './check-tensors';
import { checkIdRange } from './check-values';
import { matrixProduct } from './matrix-product';
import { hasKernel, runKernel } from './run-kernel';

export interface LinearCrossEntropyOptions {
  /** Rows with this target count nothing: log-probability 0, no gradient. Default −100. */
  ignoreIndex?: number;
  /**
   * The gradient of the loss with respect to each log-probability, where it is one number known beforehand: −1/N for the mean negative
   * log-likelihood. Backends that can then compute the gradients together with the logits, once instead of twice. A loss whose
   * gradient is another fails with UNEXPECTED_GRADIENT (at the next read at the latest); rows that are ignored count nothing.
   */
  expectedGradient?: number;
}

/** Logits of a composed block never exceed so many elements. */
const largestLogitBlock = 1 << 22;

// Nothing but the gradient uses the log-sum-exp.
acceptMissingGradients(XgLinearCrossEntropy);
registerGradient({
  kernelName: XgLinearCrossEntropy,
  inputsToSave: ['hidden', 'weight', 'targets'],
  outputsToSave: [false, true],
  gradFunc: (dys, saved, attributes) => {
    const [hidden, weight, targets, logSumExps] = saved as [Tensor, Tensor, Tensor, Tensor];
    const inputs = { hidden, weight, targets, logSumExp: logSumExps, dy: (dys as Tensor[])[0] };
    const [dHidden, dWeight] = runKernel(XgLinearCrossEntropyGrad, inputs, attributes);
    return { hidden: () => dHidden, weight: () => dWeight };
  },
});

registerGradient({
  kernelName: XgLinearCrossEntropyWithGradient,
  inputsToSave: ['targets'],
  outputsToSave: [false, true, true],
  gradFunc: (dys, saved, attributes) => {
    const [targets, dHidden, dWeight] = saved as [Tensor, Tensor, Tensor];
    runKernel(XgExpectGradient, { dy: (dys as Tensor[])[0], targets }, attributes);
    return { hidden: () => dHidden, weight: () => dWeight };
  },
});
acceptMissingGradients(XgLinearCrossEntropyWithGradient);

/**
 * log softmax(hidden · weightᵀ)[target] for every row.
 *
 * hidden float32 [N,D], weight float32 [V,D], targets int32 [N] (0 ≤ target < V, or ignoreIndex) → float32 [N], 0 where ignored.
 * Differentiable with respect to hidden and weight.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, OUT_OF_RANGE, UNEXPECTED_GRADIENT
 */
export function linearCrossEntropy(
  hidden: Tensor,
  weight: Tensor,
  targets: Tensor,
  { ignoreIndex = -100, expectedGradient }: LinearCrossEntropyOptions = {},
): Tensor1D {
  const { V } = checkTensors('linearCrossEntropy', {
    hidden: [hidden, 'float32', ['N', 'D']],
    weight: [weight, 'float32', ['V', 'D']],
    targets: [targets, 'int32', ['N']],
  });
  checkInteger('linearCrossEntropy', 'ignoreIndex', ignoreIndex, -(2 ** 31));
  checkIdRange('linearCrossEntropy', 'targets', targets, V, ignoreIndex);
  if (expectedGradient !== undefined) {
    if (!Number.isFinite(expectedGradient)) {
      throw new KernelsError(
        'WRONG_OPTION',
        `linearCrossEntropy: expectedGradient must be finite, but is ${expectedGradient}.`,
        {
          value: expectedGradient,
        },
      );
    }
    if (isRecording() && hasKernel(XgLinearCrossEntropyWithGradient)) {
      const attributes = { ignoreIndex, expectedGradient };
      return runKernel(XgLinearCrossEntropyWithGradient, { hidden, weight, targets }, attributes)[0] as Tensor1D;
    }
  }
  if (hasKernel(XgLinearCrossEntropy)) {
    return runKernel(XgLinearCrossEntropy, { hidden, weight, targets }, { ignoreIndex })[0] as Tensor1D;
  }
  return composedLinearCrossEntropy(hidden as Tensor2D, weight as Tensor2D, targets as Tensor1D, ignoreIndex);
}

function composedLinearCrossEntropy(
  hidden: Tensor2D,
  weight: Tensor2D,
  targets: Tensor1D,
  ignoreIndex: number,
): Tensor1D {
  return tidy(() => {
    const [rows, width] = hidden.shape;
    const vocabularySize = weight.shape[0];
    if (rows === 0) return sum(hidden, 1);
    const blockRows = Math.max(1, Math.floor(largestLogitBlock / vocabularySize));
    const blocks: Tensor1D[] = [];
    for (let first = 0; first < rows; first += blockRows) {
      const count = Math.min(blockRows, rows - first);
      const blockHidden = slice(hidden, [first, 0], [count, width]);
      const blockTargets = slice(targets, [first], [count]);
      blocks.push(checkpointed(() => targetLogProbabilities(blockHidden, weight, blockTargets, ignoreIndex)));
    }
    return blocks.length === 1 ? blocks[0] : concat(blocks, 0);
  });
}

/** The definition, in stock operations; the gradient of softmax written out, since it needs far fewer passes over the logits. */
function targetLogProbabilities(hidden: Tensor2D, weight: Tensor2D, targets: Tensor1D, ignoreIndex: number): Tensor1D {
  const ignored = equal(targets, scalar(ignoreIndex, 'int32'));
  const counted = sub(scalar(1), cast(ignored, 'float32'));
  const chosen = cast(oneHot(where(ignored, zerosLike(targets), targets), weight.shape[0]), 'float32');
  const logits = matrixProduct(hidden, weight, false, true);
  const logProbabilities = customGrad((values, save) => {
    const x = values as Tensor2D;
    (save as unknown as (tensors: Tensor[]) => void)([x, chosen]);
    return {
      value: sub(sum(mul(x, chosen), 1), logSumExp(x, 1)),
      gradFunc: (dy, [saved, hot]) => mul(sub(hot, softmax(saved)), expandDims(dy, 1)),
    };
  });
  return mul(logProbabilities(logits), counted);
}
