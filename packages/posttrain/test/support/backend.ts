import { initializeBackend } from '@xgen-small/kernels';

/** The backend that users get by default; losses here are checked in float32. */
export async function startBackend(): Promise<void> {
  await initializeBackend();
}
