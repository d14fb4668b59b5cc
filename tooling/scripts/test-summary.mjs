// Sums the real counts of every package's tests that was asked for (vitest's JSON in `.vitest/results.json`). Of these, one that
// has a test script and left no result counts as one failure: a crash must not read as success. So does a run of no tests at all.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

/** Absolute paths of the workspace's packages. */
export function packageFolders(root) {
  return ['packages', 'apps', 'tooling']
    .flatMap((group) => readdirSync(join(root, group)).map((name) => join(root, group, name)))
    .filter((folder) => existsSync(join(folder, 'package.json')));
}

/** Names of the packages whose tests `turbo run test … --dry=json` says that it would run. */
export function packagesInPlan(plan) {
  const { tasks } = JSON.parse(plan.slice(plan.indexOf('{')));
  return new Set(tasks.filter(({ task }) => task === 'test').map((task) => task.package));
}

/**
 * Prints a line for each package and the closing line `N passed, N failed[, N skipped]`; returns the sums. `asked`: the packages
 * that count; default: all.
 */
export function printTestSummary(root, { checksFailed = false, asked } = {}) {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  let counted = 0;
  console.log('');
  for (const folder of packageFolders(root)) {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    if (!manifest.scripts?.test || asked?.has(manifest.name) === false) continue;
    counted++;
    const file = join(folder, '.vitest', 'results.json');
    let row;
    try {
      const result = JSON.parse(readFileSync(file, 'utf8'));
      row = {
        passed: result.numPassedTests,
        // A file that fails before its first test (a syntax error, say) has no failed test but a failed suite.
        failed: Math.max(result.numFailedTests, result.success ? 0 : 1),
        skipped: result.numPendingTests + result.numTodoTests,
      };
    } catch {
      console.log(`${basename(folder)}: no test result in ${relative(root, file)} (did it crash?)`);
      row = { passed: 0, failed: 1, skipped: 0 };
    }
    console.log(`  ${manifest.name}: ${row.passed} passed, ${row.failed} failed, ${row.skipped} skipped`);
    for (const key of Object.keys(sum)) sum[key] += row[key];
  }
  if (counted === 0) {
    console.log('  no package with tests was asked for (counted as one failure)');
    sum.failed += 1;
  }
  if (checksFailed) {
    console.log('  lint or types: failed (counted as one failure)');
    sum.failed += 1;
  }
  console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped ? `, ${sum.skipped} skipped` : ''}`);
  return sum;
}
