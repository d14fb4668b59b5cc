/** Real data beside the repository, where there is some; tests that use it say when they skip. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../../../shared/data/', import.meta.url));

/** The path of a file of the shared data, or undefined with a visible note. */
export function sharedData(name: string): string | undefined {
  const path = `${folder}${name}`;
  if (existsSync(path)) return path;
  console.warn(`skipped: ../shared/data/${name} is not there`);
  return undefined;
}
