// Peak memory of a process and all its descendants, measured from outside while it runs: the largest sum of proportional set
// sizes (`Pss` of /proc/<pid>/smaps_rollup, which shares out pages that processes share) seen, and each process's own high-water mark of
// resident memory (`VmHWM`), which misses nothing between two looks. Linux only.
import { readdirSync, readFileSync } from 'node:fs';

const read = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};
const kibibytes = (text, field) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);

function processTree(root) {
  const parents = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = read(`/proc/${name}/stat`);
    if (stat !== '') parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const tree = [root];
  for (const parent of tree) for (const [pid, of] of parents) if (of === parent && !tree.includes(pid)) tree.push(pid);
  return tree;
}

/**
 * Watches a process until the function it returns is called, which gives the peaks in MiB.
 *
 * @param {number} pid
 * @param {number} [milliseconds] between two looks
 * @returns {() => { peakMebibytes: number, residentMebibytes: number }}
 */
export function watchMemory(pid, milliseconds = 50) {
  let peak = 0;
  const highWater = new Map();
  const look = () => {
    let sum = 0;
    for (const member of processTree(pid)) {
      sum += kibibytes(read(`/proc/${member}/smaps_rollup`), 'Pss');
      const mark = kibibytes(read(`/proc/${member}/status`), 'VmHWM');
      highWater.set(member, Math.max(highWater.get(member) ?? 0, mark));
    }
    peak = Math.max(peak, sum);
  };
  look();
  const timer = setInterval(look, milliseconds);
  return () => {
    clearInterval(timer);
    const resident = [...highWater.values()].reduce((sum, mark) => sum + mark, 0);
    return { peakMebibytes: peak / 1024, residentMebibytes: resident / 1024 };
  };
}
