// Input that is made to hurt, at full size: seconds, peak memory and what the report says of it. Prints a table, writes nothing but temporary files
// (1.2 GB at most). A minute in all.
//
//   node bench/extremes.mjs [share=1]     (after `pnpm build`; 0.01 for a hundredth of each size)
import { spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { curate } from '@xgen-small/data-curation';
import { printTable } from '../../../tooling/bench/benchmark.mjs';
import { watchMemory } from './process-memory.mjs';

const lookMilliseconds = 200;
if (process.argv[2] === '--once') {
  const [, , , source, outputFolder] = process.argv;
  await curate({ sources: [JSON.parse(source)] }, { outputFolder, workers: 4 });
  // The last look at its memory has to find the process alive.
  await new Promise((resolve) => setTimeout(resolve, 2 * lookMilliseconds));
  process.exit(0);
}

const share = Number(process.argv[2] ?? 1);
if (!(share > 0 && share <= 1)) throw new Error(`share: ${process.argv[2]}; give a number above 0, up to 1.`);
const root = mkdtempSync(join(tmpdir(), 'extremes-'));

/** Writes `unit` again and again, `times` in all, between two other texts. */
async function write(name, before, unit, times, after) {
  const path = join(root, name);
  const file = createWriteStream(path);
  file.write(before);
  const block = 65_536;
  const blocks = unit.repeat(block);
  for (let left = times; left > 0; left -= block) {
    if (!file.write(left >= block ? blocks : unit.repeat(left))) await once(file, 'drain');
  }
  file.end(after);
  await once(file, 'close');
  return path;
}

const count = (times) => Math.round(times * share);
const empty = count(10_000_000);
const long = count(100_000_000);
const cases = [
  [
    `${empty.toLocaleString('en')} empty documents`,
    { type: 'jsonl', name: 'a', path: await write('empty.jsonl', '', '{"text": ""}\n', empty, '') },
  ],
  [
    `a line of ${(5 * long) / 1e6} MB, JSON Lines`,
    {
      type: 'jsonl',
      name: 'b',
      path: await write('line.jsonl', '{"text": "', 'word ', long, '"}\n{"text": "A short line after it."}\n'),
    },
  ],
  [
    `a line of ${(5 * long) / 1e6} MB, plain text`,
    { type: 'folder', name: 'c', path: await write('line.txt', '', 'word ', long, '') },
  ],
];

const rows = [['input', 'seconds', 'peak MiB', 'the report says']];
try {
  for (const [index, [name, source]] of cases.entries()) {
    const output = join(root, `out-${index}`);
    const start = performance.now();
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--once', JSON.stringify(source), output], {
      stdio: 'inherit',
    });
    const stopWatching = watchMemory(child.pid, lookMilliseconds);
    const [exit] = await once(child, 'close');
    const { peakMebibytes } = stopWatching();
    if (exit !== 0) throw new Error(`${name}: the curation failed`);
    const seconds = (performance.now() - start) / 1000;
    const { badInputs, drops } = JSON.parse(readFileSync(join(output, 'report.json'), 'utf8'));
    const said = [...badInputs.counts, ...drops].map((entry) => `${entry.count ?? entry.documents} ${entry.reason}`);
    rows.push([name, Number(seconds.toFixed(1)), Math.round(peakMebibytes), said.join(', ')]);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
printTable(rows);
