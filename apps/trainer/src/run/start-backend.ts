/** Starts the backend and the settings that a recipe asks for. */
import { initializeBackend, setMatmulPrecision, setThreadCount, type InitializedBackend } from '@xgen-small/kernels';
import type { Recipe } from '../recipe/recipe-schema.js';

export async function startBackend(recipe: Recipe): Promise<InitializedBackend> {
  const { backend, threads, matmulPrecision } = recipe.compute;
  const started = await initializeBackend(backend === 'auto' ? {} : { preferred: backend });
  if (threads !== undefined) setThreadCount(threads);
  setMatmulPrecision(matmulPrecision);
  return started;
}
