// Speed of training, encoding and shard writing, beside Hugging Face's `tokenizers` (the npm package) in the same run on the same
// documents.
//   node bench/tokenizer.mjs [megabytes=100]
// Writes bench/results/tokenizer.json. Takes a few minutes, most of them Hugging Face's. Encoding is timed in alternating rounds
// (ours, theirs, ours, …), first with all cores for both, then with one thread for both.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describeEnvironment, printTable, summarize, writeResult } from '../../../tooling/bench/benchmark.mjs';
import {
  tokenizeCorpus,
  Tokenizer,
  trainBytePairEncoding,
  verifyTokenShards,
  writeTokenizerFolder,
} from '../dist/index.js';
import { benchmarkCorpus } from './corpus.mjs';

const { Tokenizer: HuggingFace } = createRequire(import.meta.url)('tokenizers');
const here = fileURLToPath(import.meta.url);
const megabytes = Number(process.argv[2] ?? 100);
const [, , , oneThreadFolder] = process.argv;
// Hugging Face's encodings are millions of numbers: what one side leaves behind must not be collected on the other's time.
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');
const seconds = (start) => (performance.now() - start) / 1000;

/** Rounds of documents of about 24 MB each. */
function roundsOf(documents, megabytesInAll) {
  const rounds = [[]];
  let bytes = 0;
  let all = 0;
  for (const { text } of documents) {
    rounds.at(-1).push(text);
    const size = Buffer.byteLength(text);
    bytes += size;
    all += size;
    if (all >= megabytesInAll * 1e6) break;
    if (bytes >= 24e6) {
      rounds.push([]);
      bytes = 0;
    }
  }
  return rounds;
}

/** Times both encoders on the same documents, round by round; ids must be equal. */
async function encoding(folder, documents, megabytesInAll, workers) {
  const ours = await Tokenizer.load(folder);
  const theirs = HuggingFace.fromFile(join(folder, 'tokenizer.json'));
  const [warmUp, ...rounds] = roundsOf(documents, megabytesInAll + 24);
  // Documents that do not count, so that threads have started and caches are warm on both sides; each of our threads also has its code
  // to compile, which takes it a few megabytes.
  for (let i = 0; i < 3; i++) await ours.encodeBatch(warmUp, { workers, parseSpecialTokens: true });
  await theirs.encodeBatch(warmUp, { addSpecialTokens: false });
  const rows = [];
  for (const texts of rounds) {
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    collectGarbage();
    let start = performance.now();
    const found = await ours.encodeBatch(texts, { workers, parseSpecialTokens: true });
    const own = performance.now() - start;
    collectGarbage();
    start = performance.now();
    const encodings = await theirs.encodeBatch(texts, { addSpecialTokens: false });
    const other = performance.now() - start;
    start = performance.now();
    let at = 0;
    let equal = true;
    for (const encoding of encodings) {
      for (const id of encoding.getIds()) equal = found.tokens[at++] === id && equal;
    }
    const gettingIds = performance.now() - start;
    if (!equal || at !== found.tokens.length) throw new Error('ids differ from those of Hugging Face');
    rows.push({ bytes, own, other, gettingIds, tokens: found.tokens.length });
  }
  await ours.close();
  const total = (key) => rows.reduce((sum, row) => sum + row[key], 0);
  return {
    documents: rounds.flat().length,
    megabytes: total('bytes') / 1e6,
    tokens: total('tokens'),
    rounds: rows.length,
    ourMegabytesPerSecond: total('bytes') / 1e3 / total('own'),
    huggingFaceMegabytesPerSecond: total('bytes') / 1e3 / total('other'),
    /** Their time without `getIds`, which turns each encoding into an array of numbers. */
    ratio: total('other') / total('own'),
    ratioWithGetIds: (total('other') + total('gettingIds')) / total('own'),
    ratioOfRounds: summarize(rows.map(({ own, other }) => other / own)),
    idsEqual: true,
  };
}

async function training(documents, folder) {
  const texts = documents.map(({ text }) => text);
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  let start = performance.now();
  const definition = await trainBytePairEncoding(texts, { vocabularySize: 32_768 });
  const own = seconds(start);
  await writeTokenizerFolder(join(folder, 'tokenizer'), definition);
  // Hugging Face's npm package trains with fixed settings: 30,000 tokens, no minimum frequency, GPT-2's pattern here; line by line.
  const path = join(folder, 'text.txt');
  writeFileSync(path, texts.join('\n'));
  const lines = texts.join('\n').split(/(?<=\n)/);
  start = performance.now();
  await trainBytePairEncoding(lines, {
    vocabularySize: 30_000,
    minimumFrequency: 0,
    specialTokens: [],
    preTokenizer: 'gpt2',
  });
  const ownLines = seconds(start);
  const theirs = HuggingFace.fromString(
    JSON.stringify({
      version: '1.0',
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: null,
      decoder: null,
      model: { type: 'BPE', vocab: {}, merges: [] },
    }),
  );
  start = performance.now();
  theirs.train([path]);
  const other = seconds(start);
  rmSync(path);
  return {
    megabytes: bytes / 1e6,
    vocabularySize: 32_768,
    seconds: own,
    besideHuggingFace: {
      lines: lines.length,
      vocabularySize: 30_000,
      ourSeconds: ownLines,
      huggingFaceSeconds: other,
      ratio: other / ownLines,
    },
  };
}

async function shards(documents, folder) {
  const tokenizer = await Tokenizer.load(join(folder, 'tokenizer'));
  const path = join(folder, 'corpus.parquet');
  const column = (name, data) => ({ name, data, type: 'STRING' });
  const columnData = [
    column(
      'text',
      documents.map(({ text }) => text),
    ),
    column(
      'domain',
      documents.map(({ kind }) => kind),
    ),
  ];
  writeFileSync(path, Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 1000 })));
  const bytes = documents.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  const figures = [];
  let digest;
  for (const workers of [...new Set([1, 2, 4, availableParallelism()])]) {
    const outputFolder = join(folder, `shards-${workers}`);
    const start = performance.now();
    const manifest = await tokenizeCorpus({ parquetFiles: [path], tokenizer, outputFolder, workers });
    const time = seconds(start);
    const sha256 = createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
    if (digest !== undefined && digest !== sha256) throw new Error('shards depend on the number of workers');
    digest = sha256;
    figures.push({ workers, seconds: time, megabytesPerSecond: bytes / 1e6 / time });
    if (workers === 1) {
      const verifying = performance.now();
      await verifyTokenShards(outputFolder);
      figures[0].verifySeconds = seconds(verifying);
      figures[0].bytesPerToken = Object.fromEntries(
        Object.entries(manifest.domainStatistics).map(([domain, { bytesPerToken }]) => [domain, bytesPerToken]),
      );
    }
    rmSync(outputFolder, { recursive: true });
  }
  return figures;
}

if (oneThreadFolder !== undefined) {
  // A process of its own, since Hugging Face's thread pool is fixed when it starts.
  const { documents } = benchmarkCorpus(megabytes);
  process.stdout.write(JSON.stringify(await encoding(oneThreadFolder, documents, 24, 0)));
} else {
  const loadAtStart = loadavg()[0];
  const { documents, bytes, composition } = benchmarkCorpus(megabytes);
  const folder = mkdtempSync(join(tmpdir(), 'tokenizer-bench-'));
  try {
    const trained = await training(documents, folder);
    const allCores = await encoding(join(folder, 'tokenizer'), documents, 72, availableParallelism());
    const child = spawnSync(process.execPath, [here, String(megabytes), join(folder, 'tokenizer')], {
      env: { ...process.env, TOKENIZERS_PARALLELISM: 'false', RAYON_NUM_THREADS: '1' },
      maxBuffer: 1 << 28,
    });
    if (child.status !== 0) throw new Error(child.stderr.toString());
    const oneThread = JSON.parse(child.stdout.toString());
    const written = await shards(documents, folder);
    writeResult(fileURLToPath(new URL('results/tokenizer.json', import.meta.url)), {
      benchmark: 'tokenizer',
      command: `node bench/tokenizer.mjs ${megabytes}`,
      environment: describeEnvironment({
        folder: fileURLToPath(new URL('..', import.meta.url)),
        packages: ['tokenizers'],
      }),
      loadAverage: { atStart: loadAtStart, atEnd: loadavg()[0] },
      corpus: { megabytes: bytes / 1e6, documents: documents.length, megabytesByKind: composition },
      training: trained,
      encoding: { allCores, oneThread },
      shards: written,
    });
    const round = (x) => Number(x.toPrecision(3));
    printTable([
      ['what', 'ours', 'Hugging Face', 'ratio'],
      [`training ${round(bytes / 1e6)} MB, 32,768 tokens (s)`, round(trained.seconds), '', ''],
      [
        'training by lines, 30,000 tokens (s)',
        round(trained.besideHuggingFace.ourSeconds),
        round(trained.besideHuggingFace.huggingFaceSeconds),
        round(trained.besideHuggingFace.ratio),
      ],
      ...Object.entries({ 'all cores': allCores, 'one thread': oneThread }).map(([name, figures]) => [
        `encoding, ${name} (MB/s)`,
        round(figures.ourMegabytesPerSecond),
        round(figures.huggingFaceMegabytesPerSecond),
        round(figures.ratio),
      ]),
      ...written.map((figures) => [
        `Parquet to shards, ${figures.workers} workers (MB/s)`,
        round(figures.megabytesPerSecond),
        '',
        '',
      ]),
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
