/**
 * Recording a function's launches once and replaying them: on `cuda` as a CUDA graph, at the cost of one launch however many operations
 * the function has; on other backends the function simply runs again.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import { tidy, keep, type TensorInfo, engine } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { isRecording } from '../tape/engine-internals';
import { sizeBetween } from '../native/check-infos';
import type { CudaBackend } from './cuda-backend';
import { bytesOf, exactType, type HostValues } from './physical-type';
import { activeCudaBackend } from './settings';

export interface CapturedFunction {
  /**
   * Runs the function on new inputs of the same shapes and dtypes. The outputs belong to the captured function: the next call overwrites them, `dispose`
   * frees them. Read or clone them before.
   */
  run(...inputs: Tensor[]): Tensor[];
  dispose(): void;
}

/**
 * Records `f` for inputs like `examples` (which stay the caller's).
 *
 * `f` must be a pure function of its inputs and of tensors that outlive the captured function (weights, caches); operations in place are allowed
 * (of AdamW's step, the learning rate and the step's number must be tensors, best among the inputs). It must not read values or choose by them: what it launched for the examples is what every call repeats. On `cuda` it
 * runs twice now: once for real, so that everything it needs exists, and once recorded.
 *
 * @throws KernelsError CAPTURE_FAILED, CAPTURE_READ (f reads values); from `run`: WRONG_SHAPE, WRONG_DTYPE
 */
export function capture(f: (...inputs: Tensor[]) => Tensor[], examples: readonly Tensor[]): CapturedFunction {
  if (isRecording()) {
    throw new KernelsError('CAPTURE_FAILED', 'A function cannot be captured inside a differentiated function.');
  }
  const backend = activeCudaBackend();
  return backend === undefined ? rerun(f, examples) : record(backend, f, examples);
}

function checkInputs(inputs: readonly Tensor[], examples: readonly TensorInfo[]): void {
  if (inputs.length !== examples.length) {
    throw new KernelsError('WRONG_SHAPE', `The function was captured with ${examples.length} inputs.`, {
      value: inputs.length,
    });
  }
  inputs.forEach(({ shape, dtype }, i) => {
    const wanted = examples[i];
    if (dtype !== wanted.dtype) {
      throw new KernelsError('WRONG_DTYPE', `Input ${i} was captured as ${wanted.dtype}, but is ${dtype}.`);
    }
    if (shape.length !== wanted.shape.length || shape.some((size, axis) => size !== wanted.shape[axis])) {
      throw new KernelsError(
        'WRONG_SHAPE',
        `Input ${i} was captured with shape [${wanted.shape.join(', ')}], but has [${shape.join(', ')}].`,
        { value: shape },
      );
    }
  });
}

function rerun(f: (...inputs: Tensor[]) => Tensor[], examples: readonly Tensor[]): CapturedFunction {
  const wanted = examples.map(({ shape, dtype, dataId }) => ({ shape, dtype, dataId }));
  let outputs: Tensor[] = [];
  const drop = (): void => {
    for (const output of outputs) output.dispose();
    outputs = [];
  };
  return {
    run: (...inputs) => {
      checkInputs(inputs, wanted);
      const next = tidy(() => f(...inputs)).map((tensor) => keep(tensor));
      drop();
      return (outputs = next);
    },
    dispose: drop,
  };
}

function record(
  backend: CudaBackend,
  f: (...inputs: Tensor[]) => Tensor[],
  examples: readonly Tensor[],
): CapturedFunction {
  const fixed = examples.map((example) => keep(fixedCopy(backend, example)));
  let graph = 0;
  let outputs: Tensor[] = [];
  const dispose = (): void => {
    if (graph !== 0) backend.addon.destroyGraph(graph);
    graph = 0;
    for (const tensor of [...fixed, ...outputs]) if (!tensor.isDisposed) tensor.dispose();
  };
  try {
    tidy(() => {
      f(...fixed);
    });
    backend.addon.beginCapture();
    try {
      outputs = tidy(() => f(...fixed)).map((tensor) => keep(tensor));
      graph = backend.addon.endCapture();
    } catch (error) {
      backend.addon.abandonCapture();
      throw error;
    }
  } catch (error) {
    dispose();
    throw asKernelsError(error);
  }
  return {
    run: (...inputs) => {
      if (graph === 0) throw new KernelsError('CAPTURE_FAILED', 'The captured function was disposed of.');
      checkInputs(inputs, fixed);
      inputs.forEach((input, i) => refresh(backend, input, fixed[i]));
      backend.addon.replay(graph);
      return outputs;
    },
    dispose,
  };
}

/** A tensor of its own array on the device, stored as the example is. */
function fixedCopy(backend: CudaBackend, example: Tensor): Tensor {
  const { info, handle } = backend.create(example.shape, backend.typeOf(example), example.dtype);
  backend.addon.convertTo(sizeBetween(example.shape, 0), backend.array(example), handle);
  return engine().makeTensorFromTensorInfo(info);
}

/** New values for a fixed input, straight from the host where they still are there. */
function refresh(backend: CudaBackend, input: Tensor, target: Tensor): void {
  const { host, type, handle } = backend.dataOf(input.dataId);
  const to = backend.array(target);
  const direct = handle === 0 && host !== undefined && type === exactType(input.dtype);
  if (direct && backend.typeOf(target) === type) backend.addon.upload(to, bytesOf(host as HostValues));
  else backend.addon.convertTo(sizeBetween(input.shape, 0), backend.array(input), to);
}

function asKernelsError(error: unknown): unknown {
  if (!(error instanceof Error) || KernelsError.isInstance(error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'CAPTURE_FAILED';
  return new KernelsError(code, error.message, { cause: error });
}
