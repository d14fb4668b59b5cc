/**
 * Fused operations of a Llama-style decoder over TensorFlow.js, the backends that run them, and the tape walk that differentiates
 * them. Importing the package registers the operations' gradients and those of the stock operations that losses are made of.
 */
import './gradients/index';

export { KernelsError, type KernelsErrorOptions } from './kernels-error';

export { adamW, type AdamWOptions, type AdamWState } from './ops/adam-w';
export { addRmsNorm, type AddRmsNormResult } from './ops/add-rms-norm';
export {
  decoderStep,
  type DecoderStepLayer,
  type DecoderStepModel,
  type DecoderStepOptions,
  type DecoderStepSequences,
  type DecoderStepTokens,
} from './ops/decoder-step';
export { embedding } from './ops/embedding';
export { feedForward, type FeedForwardOptions } from './ops/feed-forward';
export { globalNormScale, type GlobalNorm } from './ops/global-norm-scale';
export { type AttentionShape, groupedQueryAttention } from './ops/grouped-query-attention';
export { increment } from './ops/increment';
export { linear, type LinearOptions } from './ops/linear';
export { linearSwiglu } from './ops/linear-swiglu';
export { linearCrossEntropy, type LinearCrossEntropyOptions } from './ops/linear-cross-entropy';
export { pagedAttention, type PagedSequences } from './ops/paged-attention';
export {
  createPagedCache,
  type PagedCache,
  pagedCacheAppend,
  type PagedCacheShape,
  unusedRow,
} from './ops/paged-cache';
export { residualFeedForward, type ResidualFeedForwardOptions } from './ops/residual-feed-forward';
export { residualRmsNorm, type ResidualRmsNormResult } from './ops/residual-rms-norm';
export { rmsNorm, type RmsNormOptions } from './ops/rms-norm';
export {
  residualRmsNormLinear,
  type ResidualRmsNormLinearResult,
  rmsNormLinear,
  type RmsNormLinearOptions,
} from './ops/rms-norm-linear';
export { rope, type RopeOptions } from './ops/rope';
export { ropeAppend, type RopeAppendOptions } from './ops/rope-append';
export { type SampledTokens, sampleTokens, type SamplingTensors } from './ops/sample-tokens';
export { swiglu } from './ops/swiglu';

export { checkpointed, kept } from './tape/checkpointed';
export { valueAndGradients, type ValueAndGradients } from './tape/value-and-gradients';

export type { BackendDescription, BackendName } from './backends/backend-adapter';
export {
  describeBackends,
  initializeBackend,
  type InitializeBackendOptions,
  type InitializedBackend,
} from './backends/initialize-backend';
export { setDeterministic, setMatmulPrecision, setThreadCount } from './backends/settings';
export {
  canRecord,
  capture,
  type CapturedFunction,
  type DeviceMemory,
  deviceMemory,
  type MemoryHolder,
  readTogether,
  resetDeviceMemoryPeaks,
  storeInBfloat16,
  synchronizeDevice,
} from './cuda/index';
export { type MatmulPrecision, nativeVariants, setNativeVariant } from './native/index';
