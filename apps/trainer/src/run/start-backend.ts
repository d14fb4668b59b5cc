/** Starts the backend and the settings that a recipe asks for. */
import { initializeBackend, setMatmulPrecision, setThreadCount, type InitializedBackend } from '@xgen-small/kernels';
import type { Recipe } from '../recipe/recipe-schema.js';

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
