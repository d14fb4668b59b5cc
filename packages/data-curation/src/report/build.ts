/** Builds the report from the tasks' counts and the selection's tables. Sums are over integers, so their order never shows. */

import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { MixtureSolution } from '../mixture/solver.js';
import type { SelectOptions } from '../engine/select.js';
import { excerpt } from '../engine/process-document.js';
import { compareStrings } from '../util/hash.js';
import { sqlFile } from '../util/sql.js';
import { describeFilter } from './filter-descriptions.js';
import type {
  CountedBytes,
  CurationReport,
  DomainShare,
  DropReason,
  DuplicateBucket,
  FunnelStep,
  SampledDocument,
  StageReport,
} from './types.js';

export interface ReportInput extends SelectOptions {
  solution: MixtureSolution;
  stages: readonly StageReport[];
}

const qualityBins = 20;
const duplicateEdges = [1, 2, 3, 5, 10, 20, 50, 100, 1000];

export async function buildReport(connection: DuckDBConnection, input: ReportInput): Promise<CurationReport> {
  const { stats, plan } = input;
  const drops: DropReason[] = Object.entries(stats.drops).flatMap(([filter, reasons]) =>
    Object.entries(reasons).map(([reason, drop]) => ({
      filter,
      reason,
      documents: drop.documents,
      textBytes: drop.textBytes,
      examples: drop.examples.map(({ id, domain, detail, excerpt: text }) => ({ id, domain, detail, excerpt: text })),
    })),
  );
  drops.sort((a, b) => b.documents - a.documents || compareStrings(a.filter + a.reason, b.filter + b.reason));
  const changes = Object.entries(stats.changes)
    .flatMap(([filter, counts]) => Object.entries(counts).map(([change, documents]) => ({ filter, change, documents })))
    .sort((a, b) => compareStrings(a.filter + a.change, b.filter + b.change));
  return {
    formatVersion: 1,
    planHash: input.planHash,
    funnel: await funnel(connection, input),
    drops,
    changes,
    domains: await domainShares(connection, input),
    languages: await languages(connection, input),
    licenses: Object.entries(stats.licenses)
      .map(([license, documents]) => ({ license, documents }))
      .sort((a, b) => b.documents - a.documents || compareStrings(a.license, b.license)),
    sources: await sources(connection, input),
    duplicateBuckets: await duplicateBuckets(connection, input),
    fittedWeightCurve: input.clusters.fittedCurve,
    quality: await qualityHistograms(connection),
    samples: await samples(connection, input),
    badInputs: {
      counts: Object.entries(stats.badInputs.counts)
        .map(([reason, count]) => ({ reason, count }))
        .sort((a, b) => b.count - a.count || compareStrings(a.reason, b.reason)),
      examples: stats.badInputs.examples,
    },
    stages: [...input.stages],
    decontamination: (plan.decontamination?.sets ?? []).map(({ name }) => ({
      set: name,
      checkedItems: input.evaluationNgrams?.checked[name] ?? 0,
      uncheckedItems: input.evaluationNgrams?.unchecked[name] ?? 0,
      documents: stats.contaminated[name] ?? 0,
    })),
    notes: notes(plan, input),
  };
}

async function counted(connection: DuckDBConnection, table: string, where = 'true'): Promise<CountedBytes> {
  const reader = await connection.runAndReadAll(
    `SELECT count(*)::DOUBLE, coalesce(sum(text_bytes), 0)::DOUBLE FROM ${table} WHERE ${where}`,
  );
  const [documents, textBytes] = reader.getRows()[0];
  return { documents: Number(documents), textBytes: Number(textBytes) };
}

async function countedBy(
  connection: DuckDBConnection,
  column: string,
  table: string,
  where = 'true',
): Promise<Map<string, CountedBytes>> {
  const reader = await connection.runAndReadAll(
    `SELECT ${column}, count(*)::DOUBLE, sum(text_bytes)::DOUBLE FROM ${table} WHERE ${where} GROUP BY ${column} ORDER BY ${column}`,
  );
  return new Map(
    reader
      .getRows()
      .map(([name, documents, textBytes]) => [
        String(name),
        { documents: Number(documents), textBytes: Number(textBytes) },
      ]),
  );
}

async function funnel(connection: DuckDBConnection, input: ReportInput): Promise<FunnelStep[]> {
  const { stats, plan } = input;
  const steps: FunnelStep[] = [{ step: 'read', description: 'Documents found in the sources.', ...stats.read }];
  const current = { ...stats.read };
  const order = ['size', 'decode', ...new Set(plan.filters.map((filter) => filter.filter)), 'decontamination'];
  for (const filter of order) {
    const reasons = stats.drops[filter];
    if (reasons === undefined) continue;
    for (const drop of Object.values(reasons)) {
      current.documents -= drop.documents;
      current.textBytes -= drop.textBytes;
    }
    steps.push({ step: filter, description: describeFilter(filter), ...current });
  }
  const { clusters, trim } = input;
  if (clusters.kept.textBytes !== current.textBytes) {
    steps.push({ step: 'changed by filters', description: 'Filters removed parts of documents.', ...clusters.kept });
  }
  if (plan.deduplication.exact) {
    steps.push({
      step: 'exact duplicates',
      description: 'One document is left of each group with the same text.',
      ...clusters.distinct,
    });
  }
  if (plan.deduplication.near !== false) {
    steps.push({
      step: 'near duplicates',
      description:
        'One document is left of each group with nearly the same text; how many it stands for is remembered.',
      ...clusters.representatives,
    });
  }
  const representatives = await counted(connection, 'representatives');
  if (trim !== undefined) {
    steps.push({
      step: 'repeated text',
      description: `Lines that many documents share were removed from ${trim.lines} documents, repeated passages from ${trim.substrings}.`,
      ...representatives,
    });
  }
  const chosen = await counted(connection, 'chosen');
  if (chosen.documents !== representatives.documents) {
    steps.push({ step: 'mixture', description: 'Documents of the domains that the mixture asks for.', ...chosen });
  }
  steps.push({
    step: 'training',
    description: 'What is left after documents were set aside for evaluation.',
    ...(await counted(connection, 'chosen', 'NOT heldout')),
  });
  return steps;
}

async function domainShares(connection: DuckDBConnection, input: ReportInput): Promise<DomainShare[]> {
  const { stats, plan, solution } = input;
  const groups = await connection.runAndReadAll(`
    SELECT domain, duplicates, count(*)::DOUBLE, sum(text_bytes)::DOUBLE FROM chosen
    WHERE NOT heldout GROUP BY domain, duplicates ORDER BY domain, duplicates`);
  const after = new Map<string, CountedBytes & { weighted: number }>();
  let weightedTotal = 0;
  for (const [domainValue, duplicates, documents, textBytes] of groups.getRows()) {
    const domain = String(domainValue);
    const entry = after.get(domain) ?? { documents: 0, textBytes: 0, weighted: 0 };
    const weighted = Number(textBytes) * solution.weightOf(domain, Number(duplicates));
    entry.documents += Number(documents);
    entry.textBytes += Number(textBytes);
    entry.weighted += weighted;
    weightedTotal += weighted;
    after.set(domain, entry);
  }
  const bytesBefore = Object.values(stats.domains).reduce((sum, entry) => sum + entry.textBytes, 0);
  const names = new Set([...Object.keys(stats.domains), ...after.keys(), ...Object.keys(plan.mixture.targets ?? {})]);
  return [...names].sort().map((domain) => {
    const before = stats.domains[domain] ?? { documents: 0, textBytes: 0 };
    const { documents, textBytes, weighted } = after.get(domain) ?? { documents: 0, textBytes: 0, weighted: 0 };
    return {
      domain,
      before,
      after: { documents, textBytes },
      shareBefore: rounded(before.textBytes / Math.max(1, bytesBefore)),
      shareAfter: rounded(weighted / Math.max(1, weightedTotal)),
      targetShare: plan.mixture.targets?.[domain],
      meanWeight: rounded(weighted / Math.max(1, textBytes)),
    };
  });
}

async function languages(connection: DuckDBConnection, input: ReportInput): Promise<CurationReport['languages']> {
  const after = await countedBy(connection, 'language', 'chosen', 'NOT heldout');
  const nothing = { documents: 0, textBytes: 0 };
  return Object.entries(input.stats.languages)
    .map(([language, before]) => ({ language, before, after: after.get(language) ?? nothing }))
    .sort((a, b) => b.before.textBytes - a.before.textBytes || compareStrings(a.language, b.language));
}

async function sources(connection: DuckDBConnection, input: ReportInput): Promise<CurationReport['sources']> {
  const kept = await countedBy(connection, 'source', 'chosen');
  const nothing = { documents: 0, textBytes: 0 };
  return input.plan.sources.map(({ name }) => ({
    source: name,
    read: input.stats.sources[name] ?? nothing,
    kept: kept.get(name) ?? nothing,
  }));
}

async function duplicateBuckets(connection: DuckDBConnection, input: ReportInput): Promise<DuplicateBucket[]> {
  const buckets: DuplicateBucket[] = [];
  for (const [index, minimum] of duplicateEdges.entries()) {
    const next = duplicateEdges[index + 1];
    const maximum = next === undefined ? undefined : next - 1;
    const where = `duplicates >= ${minimum}${maximum === undefined ? '' : ` AND duplicates <= ${maximum}`}`;
    const reader = await connection.runAndReadAll(
      `SELECT count(*)::DOUBLE, coalesce(sum(duplicates), 0)::DOUBLE FROM representatives WHERE ${where}`,
    );
    const [clusters, documents] = reader.getRows()[0];
    const chosen =
      minimum === 1
        ? []
        : await lookUp(
            connection,
            input,
            `SELECT * FROM representatives WHERE ${where} ORDER BY duplicates DESC, document LIMIT 5`,
          );
    buckets.push({
      minimum,
      maximum,
      clusters: Number(clusters),
      documents: Number(documents),
      examples: chosen.map(({ id, duplicates, excerpt: text }) => ({ id, duplicates, excerpt: text })),
    });
  }
  return buckets;
}

async function qualityHistograms(connection: DuckDBConnection): Promise<CurationReport['quality']> {
  const reader = await connection.runAndReadAll(`
    SELECT domain, least(floor(quality * ${qualityBins}), ${qualityBins - 1})::INTEGER AS bin, count(*)::DOUBLE
    FROM representatives GROUP BY domain, bin ORDER BY domain, bin`);
  const byDomain = new Map<string, number[]>();
  for (const [domain, bin, count] of reader.getRows()) {
    const counts = byDomain.get(String(domain)) ?? new Array<number>(qualityBins).fill(0);
    counts[Number(bin)] = Number(count);
    byDomain.set(String(domain), counts);
  }
  const edges = Array.from({ length: qualityBins }, (_, bin) => bin / qualityBins);
  return [...byDomain].map(([domain, counts]) => ({ domain, histogram: { edges, upper: 1, counts } }));
}

async function samples(connection: DuckDBConnection, input: ReportInput): Promise<SampledDocument[]> {
  return lookUp(
    connection,
    input,
    `SELECT * FROM (
       SELECT *, row_number() OVER (PARTITION BY domain ORDER BY rank DESC, document) AS turn FROM chosen WHERE NOT heldout
     ) WHERE turn <= ${input.plan.output.examples} ORDER BY domain, turn`,
  );
}

/** Reads id and text of a few documents from their parts. */
async function lookUp(connection: DuckDBConnection, input: ReportInput, query: string): Promise<SampledDocument[]> {
  const reader = await connection.runAndReadAll(query);
  const found: SampledDocument[] = [];
  for (const row of reader.getRowObjects()) {
    const task = input.tasks[Number(row.task)];
    for (const part of task.parts) {
      const text = await connection.runAndReadAll(
        `SELECT id, text FROM read_parquet(${sqlFile(join(input.folder.tasks, part.file))}) WHERE position = ${Number(row.position)}`,
      );
      const hit = text.getRows()[0];
      if (hit === undefined) continue;
      found.push({
        id: String(hit[0]),
        domain: String(row.domain),
        language: String(row.language),
        quality: Number(row.quality),
        duplicates: Number(row.duplicates),
        weight: row.weight === undefined ? 0 : Number(row.weight),
        excerpt: excerpt(String(hit[1])),
      });
    }
  }
  return found;
}

function notes(plan: ReportInput['plan'], { solution, stats }: ReportInput): string[] {
  const list: string[] = [];
  if (solution.limitingDomain !== undefined) {
    list.push(
      `One pass over the mixture holds ${solution.totalBytes.toFixed(0)} weighted bytes instead of ${solution.wantedBytes.toFixed(0)}: ` +
        `no document may be used more than ${plan.mixture.maximumRepeats} times, and the domain "${solution.limitingDomain}" has no more text.`,
    );
  }
  for (const domain of Object.keys(plan.mixture.targets ?? {})) {
    if (stats.domains[domain] === undefined) {
      list.push(`No document of the domain "${domain}" was read; its share went to the other domains in proportion.`);
    }
  }
  return list;
}

function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
