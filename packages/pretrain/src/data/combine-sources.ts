/** Several sources as one, documents numbered through; costs nothing but a look-up a call. */
import { createHash } from 'node:crypto';
import { PretrainError } from '../errors';
import type { TokenDocumentSource } from './document-source';

/** One source of several; domains of the same name become one. All must share a vocabulary size. */
export function combineDocumentSources(sources: readonly TokenDocumentSource[]): TokenDocumentSource {
  const sizes = [...new Set(sources.map(({ vocabularySize }) => vocabularySize))];
  if (sizes.length !== 1) {
    throw new PretrainError(
      'VOCABULARY_MISMATCH',
      `The sources have vocabularies of ${sizes.join(', ') || 'no'} ids.`,
      {
        value: sizes,
        remedy: 'Combine at least one source, all tokenised with the same tokenizer.',
      },
    );
  }
  const domains = [...new Set(sources.flatMap((source) => source.domains))];
  const domainMaps = sources.map((source) => source.domains.map((name) => domains.indexOf(name)));
  const starts = [0];
  sources.forEach(({ documentCount }, i) => starts.push(starts[i] + documentCount));
  const locate = (document: number): { source: TokenDocumentSource; slot: number; local: number } => {
    let slot = 0;
    while (slot < sources.length - 1 && document >= starts[slot + 1]) slot++;
    return { source: sources[slot], slot, local: document - starts[slot] };
  };
  return {
    domains,
    documentCount: starts[sources.length],
    vocabularySize: sizes[0],
    fingerprint: createHash('sha256')
      .update(sources.map(({ fingerprint }) => fingerprint).join('\n'), 'utf8')
      .digest('hex'),
    documentLength(document) {
      const { source, local } = locate(document);
      return source.documentLength(local);
    },
    documentDomain(document) {
      const { source, slot, local } = locate(document);
      return domainMaps[slot][source.documentDomain(local)];
    },
    documentQuality(document) {
      const { source, local } = locate(document);
      return source.documentQuality(local);
    },
    documentWeight(document) {
      const { source, local } = locate(document);
      return source.documentWeight(local);
    },
    readTokens(document, start, end) {
      const { source, local } = locate(document);
      return source.readTokens(local, start, end);
    },
    readLossMask(document, start, end) {
      const { source, local } = locate(document);
      return source.readLossMask?.(local, start, end) ?? new Uint8Array(0);
    },
  };
}
