#!/usr/bin/env node
// `npm run bench [package …]`: runs the `bench` script of every package that has one, one after the other (timings do not bear
// company), each in its own process. Results are JSON files in the package's `bench/results`. Costs several minutes.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageFolders } from './test-summary.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const wanted = process.argv.slice(2);
const candidates = packageFolders(root).flatMap((folder) => {
  const script = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).scripts?.bench;
  return script ? [{ folder, name: basename(folder), script }] : [];
});
const unknown = wanted.filter((name) => !candidates.some((candidate) => candidate.name === name));
if (unknown.length > 0) {
  console.error(`No benchmark in ${unknown.join(', ')}; there are: ${candidates.map(({ name }) => name).join(', ')}.`);
  process.exit(2);
}
const failed = [];
for (const { folder, name, script } of candidates) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n== ${name}: ${script}`);
  const { status } = spawnSync(script, { cwd: folder, stdio: 'inherit', shell: true });
  if (status !== 0) failed.push(name);
}
if (failed.length > 0) {
  console.error(`\nFailed: ${failed.join(', ')}`);
  process.exit(1);
}
