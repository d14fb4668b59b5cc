// Compares ids with Hugging Face's `tokenizers` on random texts until the time is over; prints the seed and the text of a difference.
//   node bench/fuzz.mjs [seconds=60] [seed]
// Texts mix random Unicode, lone surrogates, special-token lookalikes, long runs and pieces of real files, under every pre-tokenizer.
import { randomInt } from 'node:crypto';
import { createRequire } from 'node:module';
import { preTokenizerPresets, Tokenizer, trainBytePairEncoding } from '../dist/index.js';
import { benchmarkCorpus } from './corpus.mjs';

const { Tokenizer: HuggingFace } = createRequire(import.meta.url)('tokenizers');
const seconds = Number(process.argv[2] ?? 60);
let state = Number(process.argv[3] ?? randomInt(2 ** 31));
console.log(`seed ${state}`);

/** Mulberry32. */
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const below = (n) => Math.floor(random() * n);

const corpus = benchmarkCorpus(8).documents.map(({ text }) => text);
const lookalikes = [
  '<|endoftext|>',
  '<|im_start|>',
  '<|im_end|>',
  '<|pad|>',
  '<|im_',
  '|>',
  '<|endoftext|',
  '<<|pad|>>',
  "'s",
  "'LL",
  '\r\n',
];

const pieces = [
  () => String.fromCharCode(below(0x10000)).repeat(1 + below(3)),
  () => String.fromCodePoint(below(0x110000)),
  () => String.fromCharCode(below(0x80)),
  () => ' \t\n\r\u00a0\u3000\u0085'[below(7)].repeat(1 + below(random() < 0.01 ? 5000 : 6)),
  () => lookalikes[below(lookalikes.length)],
  () => String.fromCodePoint(0x20 + below(0x500)).repeat(1 + below(random() < 0.01 ? 3000 : 5)),
  () => String(below(1e9)),
  () => {
    const text = corpus[below(corpus.length)];
    const start = below(text.length);
    return text.slice(start, start + below(200));
  },
];
const text = () => Array.from({ length: 1 + below(60) }, () => pieces[below(pieces.length)]()).join('');

const pairs = [];
for (const preTokenizer of preTokenizerPresets) {
  const definition = await trainBytePairEncoding(corpus, { vocabularySize: 8000, preTokenizer });
  for (const changes of [{}, { normalizer: { type: 'NFC' } }]) {
    const changed = { ...definition, ...changes };
    pairs.push({
      name: preTokenizer,
      ours: Tokenizer.fromDefinition(changed),
      theirs: HuggingFace.fromString(JSON.stringify(changed)),
    });
  }
}
let texts = 0;
const end = performance.now() + seconds * 1000;
while (performance.now() < end) {
  const batch = Array.from({ length: 100 }, text);
  for (const { name, ours, theirs } of pairs) {
    const encodings = await theirs.encodeBatch(batch, { addSpecialTokens: false });
    for (const [i, encoding] of encodings.entries()) {
      if (ours.encode(batch[i], { parseSpecialTokens: true }).join() === encoding.getIds().join()) continue;
      console.error(`${name} differs on ${JSON.stringify(batch[i])}`);
      process.exit(1);
    }
  }
  texts += batch.length;
}
console.log(`${texts} texts under ${pairs.length} tokenizers: all ids equal`);
