/** Documents held in memory as a source: retrieval text for long stages, small corpora, tests. Four bytes a token. */
import { createHash } from 'node:crypto';
import { PretrainError } from '../errors';
import type { TokenDocumentSource } from './document-source';

export interface MemoryDocument {
  /** Token ids, the closing `<|endoftext|>` included. Copied. */
  tokens: ArrayLike<number>;
  domain: string;
  /** Default 0. */
  quality?: number;
  /** Default 1. */
  weight?: number;
  /** [tokens] 1 where the token carries loss under `lossOn: 'markedTokens'`. */
  lossMask?: Uint8Array;
}

/** Throws PretrainError INVALID_DATA for an id outside the vocabulary, a mask of another length or an impossible weight. */
export function memoryDocumentSource(
  documents: readonly MemoryDocument[],
  { vocabularySize }: { vocabularySize: number },
): TokenDocumentSource {
  const domains = [...new Set(documents.map(({ domain }) => domain))];
  const stored = documents.map((document, index) =>
    store(document, index, domains.indexOf(document.domain), vocabularySize),
  );
  const at = (document: number): StoredDocument => {
    const found = stored[document];
    if (found !== undefined) return found;
    throw new PretrainError('INVALID_ARGUMENT', `There is no document ${document}.`, {
      value: document,
      remedy: `Documents are numbered from 0 to ${stored.length - 1}.`,
    });
  };
  return {
    domains,
    documentCount: stored.length,
    vocabularySize,
    fingerprint: fingerprintOf(domains, vocabularySize, stored),
    documentLength: (document) => at(document).tokens.length,
    documentDomain: (document) => at(document).domain,
    documentQuality: (document) => at(document).quality,
    documentWeight: (document) => at(document).weight,
    readTokens: (document, start, end) => at(document).tokens.subarray(start, end),
    readLossMask: (document, start, end) => (at(document).lossMask ?? new Uint8Array(0)).subarray(start, end),
  };
}

interface StoredDocument {
  tokens: Int32Array;
  domain: number;
  quality: number;
  weight: number;
  lossMask?: Uint8Array;
}

function store(document: MemoryDocument, index: number, domain: number, vocabularySize: number): StoredDocument {
  const { tokens, quality = 0, weight = 1, lossMask } = document;
  const fail = (what: string, value: unknown, remedy: string): never => {
    throw new PretrainError('INVALID_DATA', `Document ${index}: ${what}`, { value, remedy });
  };
  for (let i = 0; i < tokens.length; i++) {
    const id = tokens[i];
    if (!Number.isInteger(id) || id < 0 || id >= vocabularySize) {
      fail(`token ${i} is ${id}.`, id, `Ids are whole numbers from 0 to ${vocabularySize - 1}.`);
    }
  }
  if (tokens.length === 0) fail('it has no tokens.', 0, 'Leave empty documents out.');
  if (!Number.isFinite(quality)) fail(`its quality is ${quality}.`, quality, 'Pass a finite number.');
  if (!Number.isFinite(weight) || weight < 0) fail(`its weight is ${weight}.`, weight, 'Pass a finite number from 0.');
  if (lossMask !== undefined && lossMask.length !== tokens.length) {
    fail(
      `its loss mask has ${lossMask.length} entries for ${tokens.length} tokens.`,
      lossMask.length,
      'Make them equal.',
    );
  }
  return { tokens: Int32Array.from(tokens), domain, quality, weight, lossMask: lossMask?.slice() };
}

function fingerprintOf(
  domains: readonly string[],
  vocabularySize: number,
  documents: readonly StoredDocument[],
): string {
  const hash = createHash('sha256').update(JSON.stringify([domains, vocabularySize, documents.length]), 'utf8');
  for (const { tokens, domain, quality, weight, lossMask } of documents) {
    hash.update(JSON.stringify([tokens.length, domain, quality, weight, lossMask?.length ?? null]), 'utf8');
    hash.update(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength));
    if (lossMask !== undefined) hash.update(lossMask);
  }
  return hash.digest('hex');
}
