/** The figures behind `report.json` and `report.html`. Everything in it is reproducible: no times, no machine. */

import type { FittedCurve } from '../mixture/fit-weight-curve.js';

export interface CountedBytes {
  documents: number;
  textBytes: number;
}

export interface FunnelStep extends CountedBytes {
  step: string;
  /** One sentence for a reader who did not write the plan. */
  description: string;
}

export interface DroppedExample {
  id: string;
  domain: string;
  /** The measured value that crossed the limit, in words. */
  detail: string;
  /** The first characters of the text. */
  excerpt: string;
}

export interface DropReason extends CountedBytes {
  filter: string;
  reason: string;
  examples: DroppedExample[];
}

export interface DomainShare {
  domain: string;
  /** After reading and repair, before any filter. */
  before: CountedBytes;
  /** In the training shards. */
  after: CountedBytes;
  /** Share of text bytes before, in [0, 1]. */
  shareBefore: number;
  /** Share of weighted text bytes (weight x bytes) in the training shards, in [0, 1]. */
  shareAfter: number;
  targetShare?: number;
  meanWeight: number;
}

export interface Histogram {
  /** Lower edges of the bins; the last bin is open unless `upper` is given. */
  edges: number[];
  upper?: number;
  counts: number[];
}

export interface DuplicateBucket {
  /** Smallest and largest cluster size of the bucket. */
  minimum: number;
  maximum?: number;
  clusters: number;
  documents: number;
  /** Documents of the largest clusters of this bucket: what very frequent text looks like. */
  examples: { id: string; duplicates: number; excerpt: string }[];
}

export interface SampledDocument {
  id: string;
  domain: string;
  language: string;
  quality: number;
  duplicates: number;
  weight: number;
  excerpt: string;
}

export interface BadInput {
  /** File (and line or row) that could not be used. */
  location: string;
  reason: string;
}

export interface StageReport {
  name: string;
  wantedTokens: number;
  /** Sum of repeats x tokens; below the wanted number where the cap on repeats limits a domain. */
  tokens: number;
  limitingDomain?: string;
  domains: {
    domain: string;
    documents: number;
    tokens: number;
    share: number;
    targetShare?: number;
    largestRepeats: number;
  }[];
}

export interface CurationReport {
  formatVersion: 1;
  planHash: string;
  funnel: FunnelStep[];
  drops: DropReason[];
  changes: { filter: string; change: string; documents: number }[];
  domains: DomainShare[];
  languages: { language: string; before: CountedBytes; after: CountedBytes }[];
  licenses: { license: string; documents: number }[];
  sources: { source: string; read: CountedBytes; kept: CountedBytes }[];
  duplicateBuckets: DuplicateBucket[];
  /** With `weightCurve: 'fitted'`: how often the filters dropped text of each cluster size, and the weight that follows. */
  fittedWeightCurve?: FittedCurve;
  quality: { domain: string; histogram: Histogram }[];
  samples: SampledDocument[];
  badInputs: { counts: { reason: string; count: number }[]; examples: BadInput[] };
  /** Training stages of the mixture. */
  stages: StageReport[];
  /** For each evaluation set: its items, those too short to be looked for, and the documents dropped. */
  decontamination: { set: string; checkedItems: number; uncheckedItems: number; documents: number }[];
  notes: string[];
}
