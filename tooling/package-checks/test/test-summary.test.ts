// The closing line of `npm test`: what was asked for counts, all of it, and nothing else.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { packageFolders, packagesInPlan, printTestSummary } from '../../scripts/test-summary.mjs';

interface Manifest {
  name: string;
  scripts?: { test?: string };
}

let workspace: string;
let printed: string[];

beforeEach(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'xgen-small-summary-'));
  printed = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void printed.push(line));
  for (const group of ['packages', 'apps', 'tooling']) await mkdir(join(workspace, group));
  await addPackage('packages/one', { numPassedTests: 3, numFailedTests: 0, numPendingTests: 1 });
  await addPackage('packages/two', { numPassedTests: 5, numFailedTests: 0, numPendingTests: 0 });
  await addPackage('apps/crashed');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(workspace, { recursive: true, force: true });
});

/** With vitest's result, or as a run leaves it that never came to one. */
async function addPackage(path: string, result?: Record<string, number>): Promise<void> {
  const folder = join(workspace, path);
  await mkdir(join(folder, '.vitest'), { recursive: true });
  await writeFile(
    join(folder, 'package.json'),
    JSON.stringify({ name: `@x/${path}`, scripts: { test: 'vitest run' } }),
  );
  if (result === undefined) return;
  await writeFile(
    join(folder, '.vitest', 'results.json'),
    JSON.stringify({ success: true, numTodoTests: 0, ...result }),
  );
}

it('counts a package without a result as a failure when all were asked for', () => {
  expect(printTestSummary(workspace)).toEqual({ passed: 8, failed: 1, skipped: 1 });
  expect(printed.at(-1)).toBe('8 passed, 1 failed, 1 skipped');
});

it('counts what was asked for only, and of that a package without a result as a failure', () => {
  expect(printTestSummary(workspace, { asked: new Set(['@x/packages/two']) })).toEqual({
    passed: 5,
    failed: 0,
    skipped: 0,
  });
  expect(printed.at(-1)).toBe('5 passed, 0 failed');
  const asked = new Set(['@x/packages/one', '@x/apps/crashed']);
  expect(printTestSummary(workspace, { asked, checksFailed: true })).toEqual({ passed: 3, failed: 2, skipped: 1 });
});

it('counts a run of no package as a failure', () => {
  expect(printTestSummary(workspace, { asked: new Set() })).toEqual({ passed: 0, failed: 1, skipped: 0 });
});

it('knows from turbo what was asked for', async () => {
  const root = resolve(import.meta.dirname, '../../..');
  const turbo = join(root, 'node_modules', '.bin', 'turbo');
  const plan = async (...filter: string[]) => {
    const { stdout } = await promisify(execFile)(turbo, ['run', 'test', '--only', '--dry=json', ...filter], {
      cwd: root,
      env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1' },
      maxBuffer: 1 << 26,
    });
    return [...packagesInPlan(stdout)].sort();
  };
  expect(await plan('--filter', '@xgen-small/tokenizer')).toEqual(['@xgen-small/tokenizer']);
  expect(await plan('--filter', '@xgen-small/serve', '--filter', './apps/*')).toEqual([
    '@xgen-small/serve',
    '@xgen-small/trainer',
  ]);
  const manifests = await Promise.all(
    packageFolders(root).map(
      async (folder) => JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest,
    ),
  );
  const tested = manifests.filter(({ scripts }) => scripts?.test !== undefined).map(({ name }) => name);
  expect(await plan()).toEqual(tested.sort());
});
