// The time in each kernel, from what `ncu --csv` prints: one row a launch, added up by name. Cost: one pass over the text.
import { spawnSync } from 'node:child_process';

/** One step, as its program marks it; the clocks stay as they are. */
export const profiler = [
  'ncu',
  '--profile-from-start',
  'off',
  '--clock-control',
  'none',
  '--metrics',
  'gpu__time_duration.sum',
  '--csv',
];
const unitsInMilliseconds = {
  ns: 1e-6,
  nsecond: 1e-6,
  us: 1e-3,
  usecond: 1e-3,
  ms: 1,
  msecond: 1,
  s: 1e3,
  second: 1e3,
};

/** Whether ncu is on the path. */
export function canProfile() {
  return spawnSync(profiler[0], ['--version']).status === 0;
}

/**
 * { milliseconds, launches, kernels: [{ name, launches, milliseconds, share }] }, the longest first. Lines that are not the table (messages, what the
 * program itself prints) are passed over.
 */
export function aggregateProfile(text) {
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith('"'))
    .map(fieldsOf);
  const header = rows.shift() ?? [];
  const [name, metric, unit, value] = ['Kernel Name', 'Metric Name', 'Metric Unit', 'Metric Value'].map((title) => {
    const column = header.indexOf(title);
    if (column < 0) throw new Error(`ncu's table has no column ${title}, but ${header.join(', ') || 'nothing'}.`);
    return column;
  });
  const kernels = new Map();
  let milliseconds = 0;
  let launches = 0;
  for (const row of rows) {
    if (row[metric] !== 'gpu__time_duration.sum') continue;
    const time = Number(row[value].replaceAll(',', '')) * unitsInMilliseconds[row[unit]];
    if (!Number.isFinite(time)) throw new Error(`ncu says ${row[value]} ${row[unit]} of ${row[name]}.`);
    const key = shortName(row[name]);
    const kernel = kernels.get(key) ?? { name: key, launches: 0, milliseconds: 0 };
    kernel.launches++;
    kernel.milliseconds += time;
    kernels.set(key, kernel);
    milliseconds += time;
    launches++;
  }
  return {
    milliseconds,
    launches,
    kernels: [...kernels.values()]
      .sort((a, b) => b.milliseconds - a.milliseconds)
      .map((kernel) => ({ ...kernel, share: kernel.milliseconds / milliseconds })),
  };
}

/** The fields of a line of quoted values. */
function fieldsOf(line) {
  return [...line.matchAll(/"((?:[^"]|"")*)"/g)].map(([, field]) => field.replaceAll('""', '"'));
}

/** A kernel's name with its template's arguments, without its return type, parameters and our name spaces. */
export function shortName(name) {
  const plain = name.replace(/^void /, '').replaceAll(/(?:xgen|<unnamed>|\(anonymous namespace\))::/g, '');
  let depth = 0;
  for (const [i, letter] of [...plain].entries()) {
    if (letter === '<') depth++;
    else if (letter === '>') depth--;
    else if (letter === '(' && depth === 0) return plain.slice(0, i);
  }
  return plain;
}
