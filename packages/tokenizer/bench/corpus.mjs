// Text for the benchmarks, found on the machine: nothing is downloaded and nothing is committed but this recipe. Sources, type
// declarations and read-mes of the workspace's node_modules, Debian's documentation, and, where they lie beside the checkout,
// the files of ../shared/data. Files in order of path, exact duplicates left out; each kind gives at most its share.
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('../../../', import.meta.url));

function* filesUnder(folder, depth = 12) {
  if (!existsSync(folder) || depth === 0) return;
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    const entry = lstatSync(path, { throwIfNoEntry: false });
    if (entry?.isDirectory()) yield* filesUnder(path, depth - 1);
    else if (entry?.isFile() && entry.size < 4_000_000) yield path;
  }
}

function* texts(folder, pattern) {
  for (const path of filesUnder(folder)) {
    if (!pattern.test(path)) continue;
    try {
      const bytes = readFileSync(path);
      yield new TextDecoder('utf-8', { fatal: true }).decode(path.endsWith('.gz') ? gunzipSync(bytes) : bytes);
    } catch {
      // Not UTF-8, or a broken archive: no text for a benchmark.
    }
  }
}

function* jsonLines(path) {
  if (!existsSync(path)) return;
  const bytes = readFileSync(path);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const row = JSON.parse(line);
    const content = row.text ?? row.content ?? (row.question && `${row.question}\n${row.answer}`);
    if (typeof content === 'string') yield content;
  }
}

const data = join(root, '../shared/data');
const kinds = [
  [
    'code and declarations (node_modules)',
    0.45,
    () => texts(join(root, 'node_modules/.pnpm'), /\.(ts|mts|js|mjs|cjs)$/),
  ],
  ['read-mes and changelogs (node_modules)', 0.15, () => texts(join(root, 'node_modules/.pnpm'), /\.md$/i)],
  ['Debian documentation', 0.25, () => texts('/usr/share/doc', /(copyright|README|changelog|NEWS|\.(txt|html|md|gz))/)],
  ['Python (shared/data)', 0.2, () => jsonLines(join(data, 'corpus/code.jsonl.gz'))],
  ['LaTeX (shared/data)', 0.3, () => jsonLines(join(data, 'corpus/math.jsonl.gz'))],
  ['word problems (shared/data)', 0.05, () => jsonLines(join(data, 'gsm8k/train.jsonl'))],
];

/** Documents of about `megabytes` in all, in an order that mixes the kinds, and how much of each there is. */
export function benchmarkCorpus(megabytes) {
  const seen = new Set();
  const documents = [];
  const composition = {};
  for (const [kind, share, read] of kinds) {
    let bytes = 0;
    let index = 0;
    for (const text of read()) {
      if (bytes >= share * megabytes * 1e6) break;
      const hash = createHash('sha1').update(text).digest('latin1');
      if (text.length === 0 || seen.has(hash)) continue;
      seen.add(hash);
      bytes += Buffer.byteLength(text);
      documents.push({ text, kind, order: index++ / share });
    }
    composition[kind] = Math.round(bytes / 1e4) / 100;
  }
  documents.sort((a, b) => a.order - b.order);
  let bytes = 0;
  const chosen = [];
  for (const { text, kind } of documents) {
    if (bytes >= megabytes * 1e6) break;
    bytes += Buffer.byteLength(text);
    chosen.push({ text, kind });
  }
  return { documents: chosen, bytes, composition };
}
