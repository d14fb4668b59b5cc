/**
 * The per-document part of a curation: domain, language, filters, decontamination, quality, hashes. A pure function of the document
 * and the plan, so that any worker may do it. One processor serves one thread: it reuses tables between documents.
 */

import { createHash } from 'node:crypto';
import { loadNgramIndex } from '../decontamination/load-sets.js';
import type { NgramIndex } from '../decontamination/ngram-index.js';
import { MinHasher } from '../dedup/minhash.js';
import { createDomainClassifier } from '../domains/classify.js';
import type { DocumentFilter } from '../filters/filter.js';
import { createFilter } from '../filters/registry.js';
import type { CurationPlan } from '../plan/schema.js';
import type { SourcePlan } from '../plan/source-schema.js';
import { createQualityScorer } from '../quality/scorer.js';
import type { RawDocument } from '../sources/raw-document.js';
import { CandidateDocument } from '../text/candidate.js';
import { codeLanguageOf } from '../text/file-kinds.js';
import { loadNaturalLanguage } from '../text/language.js';
import { wordHashes } from '../text/word-hashes.js';
import { keyOf, packKey } from '../util/text-key.js';
import { hash32 } from '../util/hash.js';
import type { StoredDocument } from './document-store.js';
import type { ContaminatedDocument, TaskStats } from './task-stats.js';
import { countInto, countName, otherLicenses, recordDrop } from './task-stats.js';

const excerptCharacters = 400;
const maximumLicenseCharacters = 100;

interface AppliedFilter {
  filter: DocumentFilter;
  domains: ReadonlySet<string> | undefined;
}

interface ProcessorParts {
  naturalLanguage: (text: string) => string;
  classifyDomain: (document: CandidateDocument) => string;
  scoreQuality: (document: CandidateDocument) => number;
  evaluationNgrams: NgramIndex | undefined;
}

export class DocumentProcessor {
  readonly #plan: CurationPlan;
  readonly #parts: ProcessorParts;
  readonly #filters: readonly AppliedFilter[];
  readonly #minHasher: MinHasher | undefined;
  /** Hears of every document dropped for sharing text with an evaluation item. */
  onContaminated: ((document: ContaminatedDocument) => void) | undefined;
  /** Milliseconds spent by step since `takeTimings`. */
  #timings: Record<string, number> = {};
  #lap = 0;

  private constructor(plan: CurationPlan, parts: ProcessorParts) {
    this.#plan = plan;
    this.#parts = parts;
    this.#filters = plan.filters.map((filterPlan) => ({
      filter: createFilter(filterPlan),
      domains: filterPlan.domains === undefined ? undefined : new Set(filterPlan.domains),
    }));
    this.#minHasher = plan.deduplication.near === false ? undefined : new MinHasher(plan.deduplication.near);
  }

  /** Loads the classifiers and evaluation sets that the plan names. */
  static async create(plan: CurationPlan): Promise<DocumentProcessor> {
    return new DocumentProcessor(plan, {
      // The language of code is told by its file name.
      naturalLanguage: plan.sources.every(({ domain }) => domain === 'code')
        ? () => 'und'
        : await loadNaturalLanguage(),
      classifyDomain: await createDomainClassifier(plan.domains),
      scoreQuality: await createQualityScorer(plan.quality),
      evaluationNgrams: plan.decontamination === undefined ? undefined : await loadNgramIndex(plan.decontamination),
    });
  }

  /** Bands of a signature; 0 without near-duplicate removal. */
  get bands(): number {
    return this.#minHasher?.bands ?? 0;
  }

  takeTimings(): Record<string, number> {
    const timings = this.#timings;
    this.#timings = {};
    return timings;
  }

  /** Begins to measure: what follows counts for the step whose end is told next. */
  startClock(): void {
    this.#lap = performance.now();
  }

  /** Counts the time since the last step for this one. */
  endStep(step: string): void {
    const now = performance.now();
    this.#timings[step] = (this.#timings[step] ?? 0) + now - this.#lap;
    this.#lap = now;
  }

  /**
   * The document to store, or undefined when it was dropped; either way it is counted. To fit a weight curve, what the filters
   * drop is stored too, without its text.
   */
  process(raw: RawDocument, source: SourcePlan, stats: TaskStats): StoredDocument | undefined {
    stats.read.documents++;
    if (raw.text === undefined) {
      stats.read.textBytes += raw.inputBytes;
      countInto(stats.sources, source.name, 1, raw.inputBytes);
      const domain = source.domain ?? 'other';
      this.recordDrop(stats, 'decode', 'binary data', raw.id, domain, 'no text encoding fits', '', raw.inputBytes);
      return undefined;
    }
    const { id, path, text, license } = raw;
    const document = new CandidateDocument({ id, source: source.name, path, text, license });
    if (text.trim() === '') return this.#dropEmpty(document, source, stats, raw.inputBytes);
    document.domain = source.domain ?? this.#parts.classifyDomain(document);
    this.endStep('domain');
    document.language =
      document.domain === 'code' ? (codeLanguageOf(path) ?? 'und') : this.#parts.naturalLanguage(text);
    this.endStep('language identification');
    const bytesRead = Buffer.byteLength(text);
    stats.read.textBytes += bytesRead;
    countInto(stats.sources, source.name, 1, bytesRead);
    countInto(stats.domains, document.domain, 1, bytesRead);
    countInto(stats.languages, document.language, 1, bytesRead);
    countName(stats.licenses, document.license.slice(0, maximumLicenseCharacters), 1, otherLicenses);
    for (const repair of raw.repairs) countChange(stats, 'encoding repair', repair);
    if (!this.#passesFilters(document, stats, bytesRead)) {
      return this.#plan.mixture.weightCurve === 'fitted' ? this.#describeDropped(document) : undefined;
    }
    const words = wordHashes(document.text);
    this.endStep('words');
    if (this.#isContaminated(document, words, stats, bytesRead)) return undefined;
    return this.#describe(document, words);
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
    const { low, high } = keyOf(`${this.#plan.seed}:${id}`);
    const describe = () => ({ id, domain, detail, excerpt: excerpt(text) });
    recordDrop(stats, filter, reason, textBytes, packKey(low, high), describe, this.#plan.output.examples);
  }

  #passesFilters(document: CandidateDocument, stats: TaskStats, bytesRead: number): boolean {
    for (const { filter, domains } of this.#filters) {
      if (domains !== undefined && !domains.has(document.domain)) continue;
      const outcome = filter.apply(document);
      this.endStep(filter.name);
      if (outcome === undefined) continue;
      if ('drop' in outcome) {
        const { id, domain, text } = document;
        this.recordDrop(stats, filter.name, outcome.drop, id, domain, outcome.detail, text, bytesRead);
        return false;
      }
      document.text = outcome.text;
      countChange(stats, filter.name, outcome.change);
    }
    return true;
  }

  /** Before anything is computed: there are corpora with millions of empty documents. */
  #dropEmpty(document: CandidateDocument, source: SourcePlan, stats: TaskStats, inputBytes: number): undefined {
    countInto(stats.sources, source.name, 1, 0);
    this.recordDrop(
      stats,
      'decode',
      'empty',
      document.id,
      source.domain ?? 'other',
      `${inputBytes} bytes, no text`,
      '',
      0,
    );
  }

  #isContaminated(document: CandidateDocument, words: Int32Array, stats: TaskStats, bytesRead: number): boolean {
    const plan = this.#plan.decontamination;
    const found = this.#parts.evaluationNgrams?.find(words);
    this.endStep('decontamination');
    if (plan === undefined || found === undefined || found.matches < plan.minimumMatches) return false;
    const { id, domain, text } = document;
    stats.contaminated[found.set] = (stats.contaminated[found.set] ?? 0) + 1;
    this.onContaminated?.({ id, set: found.set, item: found.item, matches: found.matches });
    const detail = `${found.matches} ${plan.ngramWords}-grams of item ${found.item}`;
    this.recordDrop(stats, 'decontamination', found.set, id, domain, detail, text, bytesRead);
    return true;
  }

  #describeDropped(document: CandidateDocument): StoredDocument | undefined {
    if (document.text.trim() === '') return undefined;
    return { ...this.#describe(document, wordHashes(document.text)), text: '', textBytes: 0, dropped: true };
  }

  #describe(document: CandidateDocument, words: Int32Array): StoredDocument {
    const { text } = document;
    const quality = this.#parts.scoreQuality(document);
    this.endStep('quality');
    const digest = createHash('sha256').update(text).digest();
    const signature = this.#minHasher?.signatureOfWords(words);
    const stored: StoredDocument = {
      id: document.id,
      text,
      textBytes: Buffer.byteLength(text),
      source: document.source,
      domain: document.domain,
      language: document.language,
      quality,
      exactHigh: digest.readBigUInt64BE(0),
      exactLow: digest.readBigUInt64BE(8),
      rank: hash32('rank', this.#plan.seed, document.id),
      dropped: false,
      bands: signature === undefined ? undefined : this.#minHasher!.bandKeys(signature),
    };
    this.endStep('signature');
    return stored;
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
