// Near-duplicate removal against a planted set: pairs of documents with a known Jaccard similarity of their 5-gram sets, unrelated
// documents beside them, curated as a whole. Measured: the share of pairs found, by similarity, next to what the bands promise,
// 1 - (1 - s^rows)^bands; and merges of documents that share nothing. Writes results/near-duplicates.json.
//
//   node bench/near-duplicates.mjs            (after `pnpm build`; about a minute)
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DuckDBInstance } from '@duckdb/node-api';
import { curate } from '@xgen-small/data-curation';
import { describeEnvironment, printTable, writeResult } from '../../../tooling/bench/benchmark.mjs';

const folder = fileURLToPath(new URL('..', import.meta.url));
const pairsPerLevel = 500;
const unrelated = 4000;
const levels = [0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];
const settings = [
  { name: 'default (FineWeb)', bands: 14, rows: 8 },
  { name: 'wider', bands: 20, rows: 5 },
  { name: 'stricter', bands: 9, rows: 13 },
];

let state = 20260101;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
const words = (count) => Array.from({ length: count }, () => `w${Math.floor(random() * 1e9).toString(36)}`);
const grams = (list) => new Set(list.slice(4).map((_, at) => list.slice(at, at + 5).join(' ')));
const jaccard = (a, b) => {
  const [left, right] = [grams(a), grams(b)];
  let shared = 0;
  for (const gram of left) if (right.has(gram)) shared++;
  return shared / (left.size + right.size - shared);
};

/** Pairs whose last words differ, so that the wanted share of 5-grams is common. */
const pairs = [];
for (const level of levels) {
  for (let turn = 0; turn < pairsPerLevel; turn++) {
    const length = 150 + Math.floor(random() * 400);
    const a = words(length);
    const different = Math.round(((length - 4) * (1 - level)) / (1 + level));
    const b = [...a.slice(0, length - different), ...words(different)];
    pairs.push({ level, similarity: jaccard(a, b), texts: [a.join(' '), b.join(' ')] });
  }
}
const root = mkdtempSync(join(tmpdir(), 'near-duplicates-'));
const texts = [
  ...pairs.flatMap((pair) => pair.texts),
  ...Array.from({ length: unrelated }, () => words(300).join(' ')),
];
writeFileSync(join(root, 'planted.jsonl'), texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));

const results = [];
for (const { name, bands, rows } of settings) {
  const { shards } = await curate(
    {
      sources: [{ type: 'jsonl', name: 'planted', path: join(root, 'planted.jsonl'), domain: 'other' }],
      filters: [{ filter: 'length' }],
      deduplication: { near: { shingleWords: 5, bands, rows } },
      heldout: { fraction: 0 },
    },
    { outputFolder: join(root, `${bands}x${rows}`), workers: 2 },
  );
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  const list = shards.map(({ path }) => `'${path}'`).join(', ');
  const reader = await connection.runAndReadAll(`SELECT id, duplicates FROM read_parquet([${list}])`);
  connection.closeSync();
  // Line numbers start at 1: the pair p is lines 2p + 1 and 2p + 2.
  const kept = new Map(
    reader.getRows().map(([id, duplicates]) => [Number(String(id).split('#')[1]), Number(duplicates)]),
  );
  const byLevel = levels.map((level) => {
    const chosen = pairs.map((pair, index) => ({ ...pair, index })).filter((pair) => pair.level === level);
    const found = chosen.filter(({ index }) => !(kept.has(2 * index + 1) && kept.has(2 * index + 2))).length;
    const expected =
      chosen.reduce((sum, { similarity }) => sum + 1 - (1 - similarity ** rows) ** bands, 0) / chosen.length;
    const meanSimilarity = chosen.reduce((sum, { similarity }) => sum + similarity, 0) / chosen.length;
    const standardError = Math.sqrt((expected * (1 - expected)) / chosen.length);
    return {
      similarity: Number(meanSimilarity.toFixed(4)),
      pairs: chosen.length,
      found: found / chosen.length,
      expected: Number(expected.toFixed(4)),
      standardErrors:
        standardError < 1e-6 ? 0 : Number(((found / chosen.length - expected) / standardError).toFixed(2)),
    };
  });
  // A false merge joins documents of different pairs, or unrelated ones.
  let falseMerges = 0;
  for (const [line, duplicates] of kept) {
    if (duplicates > 2 || (line > 2 * pairs.length && duplicates > 1)) falseMerges++;
  }
  const lost = unrelated - [...kept.keys()].filter((line) => line > 2 * pairs.length).length;
  const merged = byLevel.reduce((sum, row) => sum + row.found * row.pairs, 0);
  const trueMerged = byLevel
    .filter((row) => row.similarity >= 0.595)
    .reduce((sum, row) => sum + row.found * row.pairs, 0);
  results.push({
    name,
    bands,
    rows,
    byLevel,
    precisionAt06: Number((trueMerged / merged).toFixed(4)),
    falseMerges,
    lostUnrelated: lost,
  });
  console.log(
    `\n${name}: ${bands} bands of ${rows} rows; false merges ${falseMerges}; of the merged pairs ${((100 * trueMerged) / merged).toFixed(1)} % have s >= 0.6`,
  );
  printTable([
    ['similarity', 'pairs', 'found', 'expected', 'standard errors'],
    ...byLevel.map((row) => [
      row.similarity,
      row.pairs,
      row.found.toFixed(3),
      row.expected.toFixed(3),
      row.standardErrors,
    ]),
  ]);
}
rmSync(root, { recursive: true, force: true });
const environment = describeEnvironment({ folder, packages: ['@duckdb/node-api'] });
writeResult(join(folder, 'bench/results/near-duplicates.json'), {
  benchmark: 'near-duplicates',
  command: 'node bench/near-duplicates.mjs',
  ...environment,
  shingleWords: 5,
  pairsPerLevel,
  unrelatedDocuments: unrelated,
  results,
});
const worst = Math.max(...results.flatMap(({ byLevel }) => byLevel.map((row) => Math.abs(row.standardErrors))));
if (worst > 5) {
  console.error(`The measured curve is ${worst} standard errors away from the theoretical one.`);
  process.exitCode = 1;
}
