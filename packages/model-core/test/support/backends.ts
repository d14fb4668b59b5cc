/** The backends that this machine has, for tests that must hold on each. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

export async function useBackend(name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new Error(`backend ${name} did not start`);
}

export async function presentBackends(): Promise<string[]> {
  return ['cpu'];
}
