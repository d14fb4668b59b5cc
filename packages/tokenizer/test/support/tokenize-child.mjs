// A process to be killed: tokenizes a corpus into token shards. Arguments: tokenizer folder, output folder, workers, input.
import { readFileSync } from 'node:fs';
import { tokenizeCorpus, Tokenizer } from '../../dist/index.js';

const [tokenizerFolder, outputFolder, workers, input] = process.argv.slice(2);
const tokenizer = await Tokenizer.load(tokenizerFolder);
const source = input.endsWith('.json')
  ? { rows: JSON.parse(readFileSync(input, 'utf8')) }
  : { parquetFiles: input.split(',') };
await tokenizeCorpus({ ...source, tokenizer, outputFolder, workers: Number(workers), tokensPerShard: 4000 });
