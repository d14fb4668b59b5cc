// Trains on the same corpora with this package and with Hugging Face's Python package, and compares vocabulary, merges and ids.
//   node bench/prove-trainer-parity.mjs [--python python3] [--megabytes 100] [--output file] [corpus.jsonl[.gz] …]
// Needs a Python with `tokenizers` (0.23.2 was used). Without files it takes the benchmark's corpus (bench/corpus.mjs); a file is one
// JSON object with `text` (or `content`) a line. Writes bench/results/trainer-parity.json (or `output`): hashes of both sides for every corpus and
// setting; ends with exit code 1 if any differ.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { describeEnvironment, printTable, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { standardSpecialTokens, Tokenizer, trainBytePairEncoding, writeTokenizerFolder } from '../dist/index.js';
import { benchmarkCorpus } from './corpus.mjs';

const { values, positionals } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    megabytes: { type: 'string', default: '100' },
    output: { type: 'string' },
  },
  allowPositionals: true,
});
const pythonScript = fileURLToPath(new URL('prove_trainer_parity.py', import.meta.url));

const settings = [
  { preTokenizer: 'llama3', vocabularySize: 32_768, minimumFrequency: 2, specialTokens: [...standardSpecialTokens] },
  {
    preTokenizer: 'llama3-single-digits',
    vocabularySize: 16_384,
    minimumFrequency: 2,
    specialTokens: [...standardSpecialTokens],
  },
  { preTokenizer: 'code', vocabularySize: 50_000, minimumFrequency: 0, specialTokens: [] },
  { preTokenizer: 'gpt2', vocabularySize: 100_000, minimumFrequency: 3, specialTokens: ['<s>', 'the', '</s>'] },
  {
    preTokenizer: 'code-single-digits',
    vocabularySize: 20_000,
    minimumFrequency: 5,
    maximumTokenLength: 8,
    specialTokens: [...standardSpecialTokens],
  },
];

function readCorpus(path) {
  const bytes = readFileSync(path);
  const lines = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString().split('\n');
  return lines
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
    .map((row) => row.text ?? row.content);
}

function hash(parts) {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part).update('\n');
  return digest.digest('hex');
}

const corpora =
  positionals.length > 0
    ? positionals.map((path) => ({ name: basename(path), texts: readCorpus(path) }))
    : [
        {
          name: 'benchmark corpus',
          texts: benchmarkCorpus(Number(values.megabytes)).documents.map(({ text }) => text),
        },
      ];

const folder = mkdtempSync(join(tmpdir(), 'trainer-parity-'));
const results = [];
try {
  for (const { name, texts } of corpora) {
    const corpusPath = join(folder, 'corpus.jsonl');
    writeFileSync(corpusPath, texts.map((text) => JSON.stringify({ text })).join('\n'));
    const sample = texts.filter((_, i) => i % Math.ceil(texts.length / 500) === 0);
    for (const [index, setting] of settings.entries()) {
      let start = performance.now();
      const definition = await trainBytePairEncoding(texts, setting);
      const seconds = (performance.now() - start) / 1000;
      const tokenizerFolder = join(folder, String(index));
      await writeTokenizerFolder(tokenizerFolder, definition);
      const { vocab, merges } = definition.model;
      const tokenizer = await Tokenizer.load(tokenizerFolder);
      const { tokens } = await tokenizer.encodeBatch(sample, { parseSpecialTokens: true });
      const ours = {
        tokens: Object.keys(vocab).length,
        vocabularySha256: hash(Object.keys(vocab).sort((a, b) => vocab[a] - vocab[b])),
        mergesSha256: hash(merges.map((merge) => merge.join(' '))),
        idsSha256: hash(Array.from(tokens, String)),
        seconds,
      };
      const jobPath = join(folder, 'job.json');
      const job = {
        corpus: corpusPath,
        tokenizer: join(tokenizerFolder, 'tokenizer.json'),
        sampleEvery: Math.ceil(texts.length / 500),
        ...setting,
      };
      writeFileSync(jobPath, JSON.stringify(job));
      const python = spawnSync(values.python, [pythonScript, jobPath], { maxBuffer: 1 << 28 });
      if (python.status !== 0) throw new Error(`${values.python} failed: ${python.stderr.toString() || python.error}`);
      const theirs = JSON.parse(python.stdout.toString());
      const equal = ['tokens', 'vocabularySha256', 'mergesSha256', 'idsSha256'].every(
        (key) => ours[key] === theirs[key],
      );
      results.push({
        corpus: name,
        documents: texts.length,
        megabytes: texts.reduce((n, t) => n + Buffer.byteLength(t), 0) / 1e6,
        corpusSha256: hash(texts),
        setting,
        equal,
        ours,
        theirs,
      });
      console.log(`${name}: ${JSON.stringify(setting)}: ${equal ? 'equal' : 'DIFFERENT'}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
writeResult(values.output ?? fileURLToPath(new URL('results/trainer-parity.json', import.meta.url)), {
  benchmark: 'trainer parity',
  command: `node bench/prove-trainer-parity.mjs ${process.argv
    .slice(2)
    .map((argument) => basename(argument))
    .join(' ')}`.trim(),
  environment: describeEnvironment({ folder: fileURLToPath(new URL('..', import.meta.url)) }),
  results,
});
printTable([
  ['corpus', 'pre-tokenizer', 'tokens', 'ours (s)', 'Hugging Face (s)', 'equal'],
  ...results.map(({ corpus, setting, ours, theirs, equal }) => [
    corpus,
    setting.preTokenizer,
    ours.tokens,
    ours.seconds,
    theirs.seconds,
    equal ? 'yes' : 'NO',
  ]),
]);
process.exitCode = results.every(({ equal }) => equal) ? 0 : 1;
