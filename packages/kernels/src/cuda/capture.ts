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
import type { Handle } from './addon';
import type { Dependencies } from './dependencies';
import { bytesOf, exactType, type HostValues } from './physical-type';
import { activeCudaBackend } from './settings';

export interface CapturedFunction {
  /**
   * Runs the function on new inputs of the same shapes and dtypes. The outputs belong to the captured function: the next call overwrites them, `dispose`
   * frees them. Read or clone them before. A small input that the host wrote and that is given again as it is costs nothing.
   *
   * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, CAPTURE_FAILED (disposed of), CAPTURE_STALE (not `current` any more, for want of a tensor)
   */
  run(...inputs: Tensor[]): Tensor[];
  /**
   * Whether it still computes what the function would: false once a tensor that the function used besides its inputs is gone or was stored
   * anew (changes in place do no harm), or the precision is another. Always true where nothing was recorded.
   */
  readonly current: boolean;
  dispose(): void;
}

/** Whether `capture` would record now, so that replays are cheap: on `cuda`, outside of differentiated functions. */
export function canRecord(): boolean {
  return activeCudaBackend() !== undefined && !isRecording();
}

/**
 * Records `f` for inputs like `examples` (which stay the caller's).
 *
 * `f` must be a pure function of its inputs and of tensors that outlive the captured function (weights, caches); operations in place are allowed
 * (of AdamW's step, the learning rate and the step's number must be tensors, best among the inputs), but not on the inputs. It must not read values or choose by them: what it launched for the examples is what every call repeats. On `cuda` it
 * runs twice now: once for real, so that everything it needs exists, and once recorded.
 *
 * @throws KernelsError CAPTURE_FAILED, CAPTURE_READ (f reads values)
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
    current: true,
    dispose: drop,
  };
}

function record(
  backend: CudaBackend,
  f: (...inputs: Tensor[]) => Tensor[],
  examples: readonly Tensor[],
): CapturedFunction {
  const fixed = examples.map((example) => keep(fixedCopy(backend, example)));
  // What the host wrote of each: the same array again needs no copying.
  const given = examples.map(({ dataId }) => backend.dataOf(dataId).host);
  const { matmulPrecision } = backend;
  let dependencies: Dependencies | undefined;
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
      const recorded = backend.watch(() => tidy(() => f(...fixed)).map((tensor) => keep(tensor)));
      outputs = recorded.result;
      dependencies = recorded.dependencies;
      graph = backend.addon.endCapture();
    } catch (error) {
      backend.addon.abandonCapture();
      throw error;
    }
    dependencies.settle(new Set([...fixed, ...outputs].map(({ dataId }) => backend.dataOf(dataId))));
  } catch (error) {
    dispose();
    throw asKernelsError(error);
  }
  return {
    run: (...inputs) => {
      if (graph === 0) throw new KernelsError('CAPTURE_FAILED', 'The captured function was disposed of.');
      checkInputs(inputs, fixed);
      if (!dependencies.unchanged) {
        throw new KernelsError(
          'CAPTURE_STALE',
          'A tensor that the captured function uses was disposed of or stored anew.',
          { remedy: 'Capture the function again; change tensors that it uses in place only.' },
        );
      }
      const changed = inputs.flatMap((input, i) => {
        const { host } = backend.dataOf(input.dataId);
        if (host !== undefined && host === given[i]) return [];
        given[i] = host;
        return [{ input, target: fixed[i] }];
      });
      refresh(backend, changed);
      backend.addon.replay(graph);
      return outputs;
    },
    get current() {
      return graph !== 0 && dependencies.unchanged && backend.matmulPrecision === matmulPrecision;
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

/** New values for fixed inputs: together straight from the host where they still are there. */
function refresh(backend: CudaBackend, changed: readonly { input: Tensor; target: Tensor }[]): void {
  const handles: Handle[] = [];
  const parts: Uint8Array[] = [];
  for (const { input, target } of changed) {
    const { host, type, handle } = backend.dataOf(input.dataId);
    const to = backend.array(target);
    const direct = handle === 0 && host !== undefined && type === exactType(input.dtype);
    if (direct && backend.typeOf(target) === type) {
      handles.push(to);
      parts.push(bytesOf(host as HostValues));
    } else {
      backend.addon.convertTo(sizeBetween(input.shape, 0), backend.array(input), to);
    }
  }
  if (parts.length === 1) backend.addon.upload(handles[0], parts[0]);
  if (parts.length < 2) return;
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  backend.addon.uploadTogether(handles.length, Int32Array.from(handles), bytes);
}

function asKernelsError(error: unknown): unknown {
  if (!(error instanceof Error) || KernelsError.isInstance(error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'CAPTURE_FAILED';
  return new KernelsError(code, error.message, { cause: error });
}
