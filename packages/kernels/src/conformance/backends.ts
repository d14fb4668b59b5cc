/**
 * The backends the suite runs on: every one this machine has, `native` once for each SIMD variant it can force; for the others, the
 * reason.
 */
import { describeBackends, initializeBackend } from '../backends/initialize-backend';

export interface BackendUnderTest {
  label: string;
  /** Why it cannot be tested here, where it can't. */
  skip?: string;
  activate(this: void): Promise<void>;
}

export async function backendsUnderTest(): Promise<BackendUnderTest[]> {
  const descriptions = await describeBackends();
  return descriptions.map(({ name, available, detail, remedy }) => ({
    label: name,
    skip: available ? undefined : `${detail} ${remedy ?? ''}`,
    activate: async () => {
      const { name: active, warnings } = await initializeBackend({ preferred: name });
      if (active !== name) throw new Error(warnings.join(' '));
    },
  }));
}
