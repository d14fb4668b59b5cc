/** Worker thread: counts the pre-tokens of batches of texts and hands the table over when asked. */
import { workerData } from 'node:worker_threads';
import type { SplitRules } from '../pre-tokenizer.js';
import { serveRequests, transferList } from '../worker-pool.js';
import { PreTokenCounter, type CountRequest } from './pre-token-counter.js';
import type { WordCounts } from './word-counter.js';

const counter = new PreTokenCounter(workerData as SplitRules);

serveRequests<CountRequest, WordCounts | undefined>(
  (request) => {
    if (request.kind === 'take') return counter.take();
    counter.count(request.bytes, request.ends);
    return undefined;
  },
  (words) => (words === undefined ? [] : transferList(words.bytes, words.starts, words.counts)),
);
