/**
 * Loss on held-out documents, domain by domain: sums of −log p over tokens, in document order, without randomness. Documents
 * longer than the context are cut as in training. One forward pass a micro-batch; memory of one.
 */
import type { CausalLanguageModel } from '@xgen-small/model-core';
import { resolveBeginToken } from '../data/batch-packer';
import type { TokenDocumentSource } from '../data/document-source';
import { inputLength, type Piece } from '../data/domain-pieces';
import { assembleMicroBatch, type MicroBatch } from '../data/micro-batch';
import { PretrainError } from '../errors';
import type { ProgressListener } from '../progress';

export interface EvaluateLossOptions {
  model: CausalLanguageModel;
  data: TokenDocumentSource;
  contextLength: number;
  /** Default: all of the data's. */
  domains?: readonly string[];
  /** Documents are read in order until a domain has so many; the last is cut there. Default: all. */
  maximumTokensPerDomain?: number;
  /** Tokens of one forward pass; default the larger of `contextLength` and 4,096. */
  microBatchTokens?: number;
  /** Shorter documents are left out; default 2. */
  minimumDocumentTokens?: number;
  /** As in the stage that trained the model; default: when the model has a `bosTokenId`. */
  prependBeginToken?: boolean;
  /** Bytes of each token id's text, 0 for special tokens: for bits per byte. */
  tokenByteLengths?: ArrayLike<number>;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

export interface DomainLoss {
  documents: number;
  /** Tokens predicted. */
  tokens: number;
  /** Sum of −log p over them, in nats. */
  negativeLogLikelihood: number;
  /** Nats a token. */
  loss: number;
  perplexity: number;
  /** With `tokenByteLengths`: bytes of the tokens predicted. */
  bytes?: number;
  /** With `tokenByteLengths`: −log2 p a byte, which compares models of different tokenizers. */
  bitsPerByte?: number;
}

export interface EvaluateLossResult {
  overall: DomainLoss;
  /** Domains without an eligible document are absent. */
  domains: Record<string, DomainLoss>;
}

/** Throws PretrainError INVALID_ARGUMENT, UNKNOWN_DOMAIN, CONTEXT_TOO_LONG, EMPTY_DOMAIN (nothing to evaluate) and ABORTED. */
export async function evaluateLoss(options: EvaluateLossOptions): Promise<EvaluateLossResult> {
  const { model, data, tokenByteLengths } = options;
  checkOptions(options);
  const names = options.domains ?? data.domains;
  const beginToken = resolveBeginToken(options.prependBeginToken, model.config.bosTokenId);
  const tallies = names.map(() => ({ documents: 0, tokens: 0, negativeLogLikelihood: 0, bytes: 0 }));
  const batches = planBatches(options, names, beginToken !== undefined);
  for (const [index, pieces] of batches.entries()) {
    await turn(options.signal);
    options.onProgress?.({ task: 'evaluate loss', completed: index, total: batches.length, unit: 'batches' });
    const assembled = { beginToken, useLossMask: false, vocabularySize: data.vocabularySize };
    const batch = await assembleMicroBatch(data, pieces, assembled);
    const values = await logProbabilities(model, batch);
    pieces.forEach(({ domain, start }, piece) => {
      const tally = tallies[domain];
      const end = batch.batch.cumulativeLengths[piece + 1];
      if (start === 0) tally.documents++;
      for (let i = batch.batch.cumulativeLengths[piece]; i < end; i++) {
        tally.tokens++;
        tally.negativeLogLikelihood -= values[i];
        tally.bytes += tokenByteLengths?.[batch.targets[i]] ?? 0;
      }
    });
  }
  options.onProgress?.({ task: 'evaluate loss', completed: batches.length, total: batches.length, unit: 'batches' });
  const withBytes = tokenByteLengths !== undefined;
  const filled = names.map((name, i) => [name, tallies[i]] as const).filter(([, { tokens }]) => tokens > 0);
  return {
    overall: domainLoss(filled.map(([, tally]) => tally).reduce(addTallies), withBytes),
    domains: Object.fromEntries(filled.map(([name, tally]) => [name, domainLoss(tally, withBytes)])),
  };
}

interface Tally {
  documents: number;
  tokens: number;
  negativeLogLikelihood: number;
  bytes: number;
}

type DomainPiece = Piece & { domain: number };

/** Pieces of the documents to read, in order, grouped into micro-batches. */
function planBatches(
  options: EvaluateLossOptions,
  names: readonly string[],
  prependBeginToken: boolean,
): DomainPiece[][] {
  const { data, contextLength, minimumDocumentTokens = 2, maximumTokensPerDomain = Number.POSITIVE_INFINITY } = options;
  const { microBatchTokens = Math.max(contextLength, 4096) } = options;
  const slots = data.domains.map((name) => names.indexOf(name));
  const remaining = names.map(() => maximumTokensPerDomain);
  const batches: DomainPiece[][] = [];
  let room = 0;
  for (let document = 0; document < data.documentCount; document++) {
    const domain = slots[data.documentDomain(document)];
    const tokens = data.documentLength(document);
    if (domain < 0 || tokens < minimumDocumentTokens) continue;
    const inputs = Math.min(inputLength(tokens, prependBeginToken), remaining[domain]);
    remaining[domain] -= inputs;
    for (let start = 0; start < inputs; start += contextLength) {
      const length = Math.min(contextLength, inputs - start);
      if (length > room) {
        batches.push([]);
        room = microBatchTokens;
      }
      batches.at(-1)!.push({ domain, document, start, length });
      room -= length;
    }
  }
  if (batches.length > 0) return batches;
  throw new PretrainError(
    'EMPTY_DOMAIN',
    `No document of ${names.join(', ')} has ${minimumDocumentTokens} tokens or more.`,
    {
      value: names,
      remedy: 'Lower minimumDocumentTokens or evaluate other domains.',
    },
  );
}

async function logProbabilities(model: CausalLanguageModel, { batch, targets }: MicroBatch): Promise<Float32Array> {
  const values = model.logProbabilities(batch, targets);
  try {
    return (await values.data()) as Float32Array;
  } finally {
    values.dispose();
  }
}

function addTallies(a: Tally, b: Tally): Tally {
  return {
    documents: a.documents + b.documents,
    tokens: a.tokens + b.tokens,
    negativeLogLikelihood: a.negativeLogLikelihood + b.negativeLogLikelihood,
    bytes: a.bytes + b.bytes,
  };
}

function domainLoss({ documents, tokens, negativeLogLikelihood, bytes }: Tally, withBytes: boolean): DomainLoss {
  const loss = negativeLogLikelihood / tokens;
  const measured = { documents, tokens, negativeLogLikelihood, loss, perplexity: Math.exp(loss) };
  return withBytes ? { ...measured, bytes, bitsPerByte: negativeLogLikelihood / Math.LN2 / bytes } : measured;
}

function checkOptions({
  model,
  data,
  contextLength,
  microBatchTokens,
  domains,
  ...options
}: EvaluateLossOptions): void {
  const fail = (
    code: 'INVALID_ARGUMENT' | 'CONTEXT_TOO_LONG' | 'UNKNOWN_DOMAIN',
    what: string,
    remedy: string,
  ): never => {
    throw new PretrainError(code, what, { remedy });
  };
  if (!Number.isSafeInteger(contextLength) || contextLength < 1) {
    fail('INVALID_ARGUMENT', `contextLength is ${contextLength}.`, 'Pass a whole number of tokens.');
  }
  if (contextLength > model.config.maximumPositions) {
    fail(
      'CONTEXT_TOO_LONG',
      `contextLength: ${contextLength} exceeds the model's maximumPositions ${model.config.maximumPositions}.`,
      'Shorten it or evaluate model.withRope(rope, maximumPositions).',
    );
  }
  if (microBatchTokens !== undefined && !(microBatchTokens >= contextLength)) {
    fail(
      'INVALID_ARGUMENT',
      `microBatchTokens ${microBatchTokens} is below contextLength ${contextLength}.`,
      'Raise it.',
    );
  }
  const { maximumTokensPerDomain, tokenByteLengths } = options;
  if (maximumTokensPerDomain !== undefined && !(maximumTokensPerDomain >= 1)) {
    fail('INVALID_ARGUMENT', `maximumTokensPerDomain is ${maximumTokensPerDomain}.`, 'Pass at least 1.');
  }
  if (tokenByteLengths !== undefined && tokenByteLengths.length < data.vocabularySize) {
    fail(
      'INVALID_ARGUMENT',
      `tokenByteLengths has ${tokenByteLengths.length} entries for ${data.vocabularySize} token ids.`,
      'Pass one length an id.',
    );
  }
  if (data.vocabularySize > model.config.vocabularySize) {
    throw new PretrainError(
      'VOCABULARY_MISMATCH',
      `The data has ${data.vocabularySize} token ids, the model only ${model.config.vocabularySize}.`,
      { value: data.vocabularySize, remedy: "Use data tokenised with the model's tokenizer." },
    );
  }
  const unknown = (domains ?? []).filter((name) => !data.domains.includes(name));
  if (unknown.length > 0) {
    fail(
      'UNKNOWN_DOMAIN',
      `The data has no domain ${unknown.join(', ')}.`,
      `Its domains are ${data.domains.join(', ')}.`,
    );
  }
}

async function turn(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
  if (signal?.aborted === true) {
    throw new PretrainError('ABORTED', 'The evaluation was interrupted.', { cause: signal.reason });
  }
}
