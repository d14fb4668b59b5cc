/** The backends that this machine has, for tests that must hold on each. */
import { describeBackends, initializeBackend, setThreadCount } from '@xgen-small/kernels';

export async function useBackend(name: string): Promise<void> {
  const preferred = name as 'cpu';
  const started = await initializeBackend({ preferred });
  if (started.name !== name) throw new Error(`${name} did not start: ${started.warnings.join(' ')}`);
  if (name === 'native') setThreadCount(2); // models this small gain nothing from more
}

/** Names of the usable ones; `cpu` is always among them. */
export async function presentBackends(): Promise<string[]> {
  return (await describeBackends()).filter(({ available }) => available).map(({ name }) => name);
}
