/** Worker thread: reads ranges of Parquet files, or takes texts, and answers with their tokens. */
import { workerData } from 'node:worker_threads';
import { serveRequests, transferList } from '../worker-pool.js';
import { tokenizeBatch, type CorpusBatch, type CorpusWorkerData } from './corpus-batch.js';
import { DocumentEncoder, type TokenizedDocuments } from './tokenized-documents.js';

const { model, endOfText, wide } = workerData as CorpusWorkerData;
const encoder = new DocumentEncoder(model, endOfText, wide);

serveRequests<CorpusBatch, TokenizedDocuments>(
  (batch) => tokenizeBatch(encoder, batch),
  ({ tokens, tokenCounts, byteCounts, rows, quality, weight, domain }) =>
    transferList(tokens, tokenCounts, byteCounts, rows, quality, weight, domain),
);
