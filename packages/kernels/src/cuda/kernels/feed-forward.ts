/** The gated feed-forward layer. The weights' gradients are stored as the activations are, as linear's. */
import * as names from '../../kernel-names';
import { checkCounts, checkInfos } from '../../native/check-infos';
import { type CudaKernel, defineKernel } from '../kernel-definition';

const feedForward = defineKernel<names.XgFeedForwardInputs>(
  names.XgFeedForward,
  ({ x, gateUpWeight, downWeight, residual }, _, backend) => {
    const { N, D, F } = checkInfos(['x', x, 'float32', 'N', 'D'], ['downWeight', downWeight, 'float32', 'D', 'F']);
    checkInfos(['gateUpWeight', gateUpWeight, 'float32', 2 * F, D]);
    if (residual) checkInfos(['residual', residual, 'float32', N, D]);
    const type = backend.activationType;
    const [y, gateUp] = [backend.create([N, D], type), backend.create([N, 2 * F], type)];
    const activation = backend.create([N, F], type);
    backend.addon.feedForward(
      N,
      D,
      F,
      backend.arrayAs(x, type),
      backend.weight(gateUpWeight),
      backend.weight(downWeight),
      residual ? backend.arrayAs(residual, type) : 0,
      gateUp.handle,
      activation.handle,
      y.handle,
    );
    return [y.info, gateUp.info, activation.info];
  },
);

const gatedLinear = defineKernel<names.XgGatedLinearInputs>(names.XgGatedLinear, ({ x, weight }, _, backend) => {
  const { N, D, rows } = checkInfos(['x', x, 'float32', 'N', 'D'], ['weight', weight, 'float32', 'rows', 'D']);
  const F = rows / 2;
  checkCounts({ F });
  const type = backend.activationType;
  const [gateUp, activation] = [backend.create([N, 2 * F], type), backend.create([N, F], type)];
  backend.addon.gatedLinear(
    N,
    D,
    F,
    backend.arrayAs(x, type),
    backend.weight(weight),
    gateUp.handle,
    activation.handle,
  );
  return [gateUp.info, activation.info];
});

const feedForwardGrad = defineKernel<names.XgFeedForwardGradInputs>(
  names.XgFeedForwardGrad,
  ({ x, gateUpWeight, downWeight, gateUp, activation, dy }, _, backend) => {
    const { N, D, F } = checkInfos(['dy', dy, 'float32', 'N', 'D'], ['activation', activation, 'float32', 'N', 'F']);
    checkInfos(
      ['x', x, 'float32', N, D],
      ['gateUpWeight', gateUpWeight, 'float32', 2 * F, D],
      ['downWeight', downWeight, 'float32', D, F],
      ['gateUp', gateUp, 'float32', N, 2 * F],
    );
    const type = backend.activationType;
    const dx = backend.create([N, D], type);
    const [dGateUpWeight, dDownWeight] = [backend.create([2 * F, D], type), backend.create([D, F], type)];
    backend.addon.feedForwardGrad(
      N,
      D,
      F,
      backend.arrayAs(x, type),
      backend.weight(gateUpWeight),
      backend.weight(downWeight),
      backend.arrayAs(gateUp, type),
      backend.arrayAs(activation, type),
      backend.arrayAs(dy, type),
      dx.handle,
      dGateUpWeight.handle,
      dDownWeight.handle,
    );
    return [dx.info, dGateUpWeight.info, dDownWeight.info];
  },
);

export const feedForwardKernels: readonly CudaKernel[] = [feedForward, gatedLinear, feedForwardGrad];
