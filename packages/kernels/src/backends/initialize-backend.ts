/**
 * Choosing the backend.
 *
 * Order: `native`, then `wasm`, then `cpu`; `cuda` and `tensorflow` only where they are asked for. What was passed over, and why, comes back
 * as warnings; nothing is printed and no environment variable is read.
 */
import { KernelsError } from '../kernels-error';
import { cudaAdapter } from '../cuda/index';
import { nativeAdapter } from '../native/index';
import type { BackendAdapter, BackendDescription, BackendName } from './backend-adapter';
import { activate, cpuAdapter, tensorflowAdapter, wasmAdapter } from './tfjs-adapters';

export interface InitializeBackendOptions {
  /** Tried first. Where it does not work, the usual order follows and a warning says so. */
  preferred?: BackendName;
}

export interface InitializedBackend {
  name: BackendName;
  /** One line for people: what runs, and why this one. */
  reason: string;
  /** One line for each better backend that could not be used, with its remedy. */
  warnings: string[];
}

const usualOrder: readonly BackendAdapter[] = [nativeAdapter, wasmAdapter, cpuAdapter];
const adapters: readonly BackendAdapter[] = [...usualOrder, cudaAdapter, tensorflowAdapter];

/**
 * Activates a backend for all tensors made from now on. Call it once, before the first tensor.
 *
 * @throws KernelsError UNKNOWN_BACKEND; BACKEND_UNAVAILABLE where none works
 */
export async function initializeBackend({ preferred }: InitializeBackendOptions = {}): Promise<InitializedBackend> {
  const first = adapters.find(({ name }) => name === preferred);
  if (preferred !== undefined && first === undefined) {
    throw new KernelsError('UNKNOWN_BACKEND', `There is no backend ${JSON.stringify(preferred)}.`, {
      value: preferred,
      remedy: `Choose one of ${adapters.map(({ name }) => name).join(', ')}.`,
    });
  }
  const order = first === undefined ? usualOrder : [first, ...usualOrder.filter((adapter) => adapter !== first)];
  const warnings: string[] = [];
  for (const adapter of order) {
    const description = await adapter.describe();
    const failure = description.available ? await tryStart(adapter) : unavailable(description);
    if (failure === undefined) {
      const why = adapter === first ? 'as asked' : warnings.length === 0 ? 'the fastest here' : 'the next that works';
      return { name: adapter.name, reason: `${adapter.name} (${why}): ${description.detail}`, warnings };
    }
    warnings.push(failure);
  }
  throw new KernelsError('BACKEND_UNAVAILABLE', `No backend works. ${warnings.join(' ')}`, { value: warnings });
}

/** Every backend this package knows, usable or not, with reasons and remedies. Activates nothing. */
export async function describeBackends(): Promise<BackendDescription[]> {
  return Promise.all(adapters.map((adapter) => adapter.describe()));
}

async function tryStart(adapter: BackendAdapter): Promise<string | undefined> {
  try {
    await adapter.register();
    await activate(adapter.name);
    return undefined;
  } catch (error) {
    return `The backend ${adapter.name} did not start: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function unavailable({ name, detail, remedy }: BackendDescription): string {
  return `The backend ${name} cannot be used: ${detail}${remedy === undefined ? '' : ` ${remedy}`}`;
}
