import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';

/** A folder for the tests of the surrounding describe; gone afterwards. */
export function temporaryFolder(): (...path: string[]) => string {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'model-core-'));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));
  return (...path) => join(root, ...path);
}
