/**
 * The per-document part of a curation: domain, language, filters, quality, hashes. A pure function of the document and the plan, so
 * that any worker may do it. One processor serves one thread: it reuses tables between documents.
 */

import { createHash } from 'node:crypto';
import { classifyDomain } from '../domains/rule-classifier.js';
import { MinHasher } from '../dedup/minhash.js';
import type { DocumentFilter } from '../filters/filter.js';
import { createFilter } from '../filters/registry.js';
import type { CurationPlan } from '../plan/schema.js';
import type { SourcePlan } from '../plan/source-schema.js';
import { linearQuality } from '../quality/linear-score.js';
import type { RawDocument } from '../sources/raw-document.js';
import { CandidateDocument } from '../text/candidate.js';
import { codeLanguageOf } from '../text/file-kinds.js';
import { naturalLanguage } from '../text/language.js';
import { hash32 } from '../util/hash.js';
import type { StoredDocument } from './document-store.js';
import type { TaskStats } from './task-stats.js';
import { countInto, recordDrop } from './task-stats.js';

const excerptCharacters = 400;

export class DocumentProcessor {
  readonly #plan: CurationPlan;
  readonly #filters: readonly { filter: DocumentFilter; domains: ReadonlySet<string> | undefined }[];
  readonly #minHasher: MinHasher | undefined;

  constructor(plan: CurationPlan) {
    this.#plan = plan;
    this.#filters = plan.filters.map((filterPlan) => ({
      filter: createFilter(filterPlan),
      domains: filterPlan.domains === undefined ? undefined : new Set(filterPlan.domains),
    }));
    this.#minHasher = plan.deduplication.near === false ? undefined : new MinHasher(plan.deduplication.near);
  }

  /** Bands of a signature; 0 without near-duplicate removal. */
  get bands(): number {
    return this.#minHasher?.bands ?? 0;
  }

  /** The document to store, or undefined when it was dropped; either way it is counted. */
  process(raw: RawDocument, source: SourcePlan, stats: TaskStats): StoredDocument | undefined {
    stats.read.documents++;
    if (raw.text === undefined) {
      stats.read.textBytes += raw.inputBytes;
      countInto(stats.sources, source.name, 1, raw.inputBytes);
      this.recordDrop(
        stats,
        'decode',
        'binary data',
        raw.id,
        source.domain ?? 'other',
        'no text encoding fits',
        '',
        raw.inputBytes,
      );
      return undefined;
    }
    const document = new CandidateDocument({
      id: raw.id,
      source: source.name,
      path: raw.path,
      text: raw.text,
      license: raw.license,
    });
    document.domain = source.domain ?? classifyDomain(document);
    document.language =
      document.domain === 'code' ? (codeLanguageOf(raw.path) ?? 'und') : naturalLanguage(document.text);
    const bytesRead = Buffer.byteLength(document.text);
    stats.read.textBytes += bytesRead;
    countInto(stats.sources, source.name, 1, bytesRead);
    countInto(stats.domains, document.domain, 1, bytesRead);
    countInto(stats.languages, document.language, 1, bytesRead);
    stats.licenses[document.license] = (stats.licenses[document.license] ?? 0) + 1;
    for (const repair of raw.repairs) countChange(stats, 'encoding repair', repair);

    for (const { filter, domains } of this.#filters) {
      if (domains !== undefined && !domains.has(document.domain)) continue;
      const outcome = filter.apply(document);
      if (outcome === undefined) continue;
      if ('drop' in outcome) {
        this.recordDrop(
          stats,
          filter.name,
          outcome.drop,
          raw.id,
          document.domain,
          outcome.detail,
          document.text,
          bytesRead,
        );
        return undefined;
      }
      document.text = outcome.text;
      countChange(stats, filter.name, outcome.change);
    }
    return this.#describe(document);
  }

  recordDrop(
    stats: TaskStats,
    filter: string,
    reason: string,
    id: string,
    domain: string,
    detail: string,
    text: string,
    textBytes: number,
  ): void {
    const rank = hash32('example', this.#plan.seed, id);
    const example = { id, domain, detail, excerpt: excerpt(text), rank };
    recordDrop(stats, filter, reason, textBytes, example, this.#plan.output.examples);
  }

  #describe(document: CandidateDocument): StoredDocument {
    const { text } = document;
    const digest = createHash('sha256').update(text).digest();
    const signature = this.#minHasher?.signature(text);
    return {
      id: document.id,
      text,
      textBytes: Buffer.byteLength(text),
      source: document.source,
      domain: document.domain,
      language: document.language,
      quality: linearQuality(text, document.domain === 'code' ? 'code' : 'prose'),
      exactHigh: digest.readBigUInt64BE(0),
      exactLow: digest.readBigUInt64BE(8),
      rank: hash32('rank', this.#plan.seed, document.id),
      bands: signature === undefined ? undefined : this.#minHasher!.bandKeys(signature),
    };
  }
}

/** The beginning of a text, never cut inside a surrogate pair. */
export function excerpt(text: string): string {
  return text.length <= excerptCharacters ? text : `${text.slice(0, excerptCharacters).toWellFormed()}…`;
}

function countChange(stats: TaskStats, filter: string, change: string): void {
  const changes = (stats.changes[filter] ??= {});
  changes[change] = (changes[change] ?? 0) + 1;
}
