#!/usr/bin/env node
// Puts measured figures into documents, so that nobody types them: tables made from the result files of bench.mjs.
//
//   node bench/cuda/figures.mjs DOCUMENT.md… [--check]
//
// A document says where they belong and from which results, relative to itself:
//
//   <!-- figures of bench/results/cuda.json, bench/results/cuda-long.json -->
//   <!-- end of figures -->
//
// What lies between is replaced. --check: changes nothing, and exits 1 where a document differs from its results.
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { format, resolveConfig } from 'prettier';

const section = /(<!-- figures of ([^\n]+?) -->\n)[^]*?(<!-- end of figures -->)/g;
/** Kernels that take less of a step are one row. */
const smallestShare = 0.02;

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) await main();

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { check: { type: 'boolean', default: false } },
  });
  for (const file of positionals) {
    const before = readFileSync(file, 'utf8');
    const after = await withFigures(before, file);
    if (after === before) continue;
    if (values.check) {
      console.error(`${file} differs from its results: run node bench/cuda/figures.mjs ${file}`);
      process.exitCode = 1;
    } else {
      writeFileSync(file, after);
      console.log(`${file} brought up to date`);
    }
  }
}

/** The text of document `file`, its sections of figures made anew. */
export async function withFigures(text, file) {
  const filled = text.replaceAll(section, (_, begin, names, end) => {
    const results = names.split(/,\s*/).map((name) => ({
      name: basename(name),
      ...JSON.parse(readFileSync(join(dirname(file), name), 'utf8')),
    }));
    return `${begin}\n${renderFigures(results)}\n\n${end}`;
  });
  return filled === text ? text : format(filled, { ...(await resolveConfig(file)), parser: 'markdown' });
}

/** Markdown of one or several results; a case may stand in only one of them. */
export function renderFigures(results) {
  const cases = new Map();
  for (const result of results) {
    if (result.rehearsal) throw new Error(`${result.name} is a rehearsal: its figures mean nothing.`);
    for (const one of result.cases) {
      if (one.leftOut !== undefined) continue;
      const other = cases.get(one.name);
      if (other !== undefined)
        throw new Error(`${one.name} is in ${other.result.name} and in ${result.name}: take it out of one of them.`);
      cases.set(one.name, { ...one, result });
    }
  }
  const measured = [...cases.values()];
  const parts = [];
  const withMark = (one) => (results.length > 1 ? `${one.name} (${1 + results.indexOf(one.result)})` : one.name);
  if (measured.length > 0) parts.push(casesTable(measured, withMark));
  const devices = [...new Set(results.map(deviceOf))];
  // What all have in common is said once.
  const runs = results.map((result) => provenance(result, devices.length > 1));
  if (devices.length === 1) parts.push(devices[0]);
  parts.push(runs.map((run, i) => (runs.length > 1 ? `${i + 1}. ${run}` : run)).join('\n'));
  for (const result of results) if (result.parity !== undefined) parts.push(parityTable(result.parity));
  for (const one of measured) if (one.profile?.kernels !== undefined) parts.push(profileTable(one, withMark(one)));
  return parts.join('\n\n');
}

function casesTable(cases, title) {
  const header = [
    'case',
    'tokens/s',
    'PyTorch',
    'ratio',
    'ms (spread)',
    'of the limit',
    'GiB',
    "PyTorch's GiB",
    "PyTorch's setting",
  ];
  const rows = cases.map((one) => {
    const { torch, milliseconds } = one;
    return [
      title(one),
      one.failed === undefined ? whole(one.tokensPerSecond) : 'failed',
      torch === undefined ? '' : torch.tokensPerSecond > 0 ? whole(torch.tokensPerSecond) : 'failed',
      one.ratio === undefined ? '' : one.ratio.toFixed(2),
      milliseconds === undefined ? '' : `${significant(milliseconds.median)} (${percent(milliseconds.spread)})`,
      one.fractionOfLimit === undefined ? '' : percent(one.fractionOfLimit),
      one.peakLiveGiB === undefined ? '' : one.peakLiveGiB.toFixed(1),
      torch?.peak_gib === undefined ? '' : torch.peak_gib.toFixed(1),
      torch?.setting === undefined ? '' : `\`${torch.setting}\``,
    ];
  });
  // The peer's columns only where there was one.
  const kept = header.map((name, column) => !/PyTorch|ratio/.test(name) || rows.some((row) => row[column] !== ''));
  const keep = (row) => row.filter((_, column) => kept[column]);
  return table(keep(header), rows.map(keep));
}

function deviceOf({ device, card, versions, limit }) {
  const sentences = [`${device.replace(/\.$/, '')}${card ? `, driver ${card.driver}` : ''}; Node ${versions.node}.`];
  if (limit !== undefined)
    sentences.push(`Limit: ${limit.flops / 1e12} TFLOP/s in bfloat16, ${limit.bytes / 1e12} TB/s.`);
  return sentences.join(' ');
}

/** What ran, and what it was checked with. */
function provenance(result, withDevice) {
  const { versions, commit, uncommittedChanges, date, command, conformance } = result;
  const sentences = withDevice ? [deviceOf(result)] : [];
  if (versions.torch) {
    const cudnn = versions.torchCudnn ? `, its cuDNN ${versions.torchCudnn}` : '';
    sentences.push(`PyTorch ${versions.torch}${cudnn}.`);
  }
  sentences.push(
    `Commit ${commit?.slice(0, 10) ?? 'unknown'}${uncommittedChanges ? ' with changes' : ''}, ${date.slice(0, 10)}, \`${command}\`.`,
  );
  if (conformance?.cases > 0)
    sentences.push(`Conformance on this device: ${conformance.cases} cases, ${conformance.failed} failed.`);
  return sentences.join(' ');
}

function parityTable({ passed, plan, peer, losses, logits, failed, leftOut }) {
  if (losses === undefined) return `Parity was not shown: ${(failed ?? leftOut ?? '').split('\n')[0]}.`;
  const sentence =
    `Parity ${passed ? 'holds' : 'does not hold'}: ${plan.steps} steps of ${plan.sequences} × ${whole(plan.length)} tokens from the same weights` +
    `${plan.peakRate === undefined ? '' : ` at a peak rate of ${plan.peakRate}`}, ` +
    `against ${peer.name} (${peer.precision}). The loss falls from ${losses.first.ours.toFixed(4)} to ${losses.last.ours.toFixed(4)}, ` +
    `the peer's from ${losses.first.peer.toFixed(4)} to ${losses.last.peer.toFixed(4)}.`;
  const rows = [
    [
      'loss, worst step',
      percent(losses.worst, 3),
      percent(losses.limit, 3),
      `at step ${losses.step}` +
        (losses.peerToItself === undefined
          ? ''
          : `; the peer compiled and not: ${percent(losses.peerToItself.worst, 3)} at step ${losses.peerToItself.step}`),
    ],
    ...logits.flatMap(logitsRows),
  ];
  return `${sentence}\n\n${table(['', 'difference', 'limit', ''], rows)}`;
}

function logitsRows({ weights, oursToPeer, limit, peerLimit, oursToExact, peerToExact, peerToItself }) {
  const itself = peerToItself === undefined ? '' : `the peer compiled and not: ${percent(peerToItself, 3)}`;
  // Before the weights' rounding was left out of what is exact, and each distance had a limit.
  if (peerLimit === undefined) {
    const exact = `from float32: ours ${percent(oursToExact, 3)}, the peer's ${percent(peerToExact, 3)}`;
    const rest = itself === '' ? exact : `${exact}; ${itself}`;
    return [[`logits, ${weights} weights`, percent(oursToPeer, 3), percent(limit, 3), rest]];
  }
  const row = (from, distance, most, rest) => [
    `logits, ${weights} weights, from ${from}`,
    percent(distance, 3),
    percent(most, 3),
    rest,
  ];
  return [
    row('exact', oursToExact, limit, `the peer's ${percent(peerToExact, 3)}`),
    row("the peer's", oursToPeer, peerLimit, itself),
  ];
}

function profileTable({ profile }, title) {
  const large = profile.kernels.filter(({ share }) => share >= smallestShare);
  const small = profile.kernels.filter(({ share }) => share < smallestShare);
  const sum = (key) => small.reduce((total, kernel) => total + kernel[key], 0);
  const rows = large.map(({ name, launches, milliseconds, share }) => [
    `\`${name}\``,
    String(launches),
    significant(milliseconds),
    percent(share),
  ]);
  if (small.length > 0)
    rows.push([
      `${small.length} others`,
      String(sum('launches')),
      significant(sum('milliseconds')),
      percent(sum('share')),
    ]);
  return `Kernels of one step of ${title}, \`${profile.command}\`:\n\n${table(['kernel', 'launches', 'ms', 'share'], rows)}`;
}

/** All columns but the first to the right. */
function table(header, rows) {
  const rule = header.map((_, i) => (i === 0 ? '---' : '---:'));
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [header, rule, ...rows].map(line).join('\n');
}

/** 396053.2 → 396,053 */
function whole(value) {
  return value.toFixed(0).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** Four digits, never with an exponent. */
function significant(value) {
  return value >= 1000 ? whole(value) : String(Number(value.toPrecision(4)));
}

function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}
