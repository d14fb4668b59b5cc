/** Starts the backend and the settings that a recipe asks for. */
import { initializeBackend, setMatmulPrecision, setThreadCount, type InitializedBackend } from '@xgen-small/kernels';
import { TrainerError } from '../errors.js';
import type { Recipe } from '../recipe/recipe-schema.js';

/** Where the backend that is named does not work, takes the next that does, and warns. */
export async function startBackend({
  backend,
  threads,
  matmulPrecision,
}: Recipe['compute']): Promise<InitializedBackend> {
  const started = await initializeBackend(backend === 'auto' ? {} : { preferred: backend });
  if (threads !== undefined) setThreadCount(threads);
  setMatmulPrecision(matmulPrecision);
  return started;
}

/**
 * The same for training, which on another backend than the one that was asked for would take hours instead of minutes, and give a run whose
 * recipe tells an untruth. @throws TrainerError BACKEND_UNAVAILABLE
 */
export async function startNamedBackend(compute: Recipe['compute']): Promise<InitializedBackend> {
  const started = await startBackend(compute);
  if (compute.backend !== 'auto' && started.name !== compute.backend) {
    throw new TrainerError('BACKEND_UNAVAILABLE', started.warnings[0], {
      value: compute.backend,
      remedy: `Or give --backend ${started.name} (or auto) and another --output folder; \`xgen doctor\` says what this machine has.`,
    });
  }
  return started;
}
