/**
 * A file for each training stage: how many times the stage uses each document, as a whole number. The solver gives a real number for
 * each domain and duplicate count; a document gets its whole part, and one more when its hash falls below the fraction, so the
 * expected number of tokens is the budget and nothing depends on order.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { KnownWeightCurve } from '../mixture/weight-curves.js';
import type { MixtureGroup } from '../mixture/solver.js';
import { solveMixture } from '../mixture/solver.js';
import { bytesPerTokenOf } from '../plan/mixture-schema.js';
import type { StagePlan } from '../plan/mixture-schema.js';
import type { CurationPlan } from '../plan/schema.js';
import type { StageReport } from '../report/types.js';
import { produceFile, sha256OfFile } from '../util/files.js';
import { hash32 } from '../util/hash.js';
import { sqlString } from '../util/sql.js';
import type { ClusterSummary } from './duplicate-clusters.js';

export interface StageMixture {
  name: string;
  /** Relative to the output folder. */
  path: string;
  sha256: string;
  report: StageReport;
}

export interface StageOptions {
  plan: CurationPlan;
  clusters: ClusterSummary;
  outputFolder: string;
}

/** Reads the table `chosen`; a document stands in `shards/shard-<shard>.parquet` at `row`. */
export async function writeStageMixtures(connection: DuckDBConnection, options: StageOptions): Promise<StageMixture[]> {
  const mixtures: StageMixture[] = [];
  for (const stage of options.plan.mixture.stages) mixtures.push(await writeStage(connection, stage, options));
  return mixtures;
}

async function writeStage(
  connection: DuckDBConnection,
  stage: StagePlan,
  options: StageOptions,
): Promise<StageMixture> {
  const { mixture, seed } = options.plan;
  const domains = await connection.runAndReadAll(
    'SELECT DISTINCT domain FROM chosen WHERE NOT heldout ORDER BY domain',
  );
  const ratios = domains
    .getRows()
    .map(([domain]) => [String(domain), bytesPerTokenOf(mixture, String(domain))] as const);
  await fillTable(connection, 'CREATE OR REPLACE TABLE ratios (domain VARCHAR, ratio DOUBLE)', 'ratios', ratios);
  await connection.run(`
    CREATE OR REPLACE TABLE eligible AS
    SELECT * EXCLUDE (weight), text_bytes / ratio AS tokens FROM (
      SELECT *, row_number() OVER (PARTITION BY shard ORDER BY document) - 1 AS row FROM chosen WHERE NOT heldout
    ) JOIN ratios USING (domain)
    WHERE quality >= ${stage.minimumQuality} AND text_bytes >= ${stage.minimumTokens} * ratio`);
  const reader = await connection.runAndReadAll(`
    SELECT domain, duplicates, count(*)::DOUBLE, sum(text_bytes)::DOUBLE FROM eligible
    GROUP BY domain, duplicates ORDER BY domain, duplicates`);
  // The solver's unit is the token here.
  const groups: MixtureGroup[] = reader.getRows().map(([domain, duplicates, documents, bytes]) => ({
    domain: String(domain),
    duplicates: Number(duplicates),
    documents: Number(documents),
    textBytes: Number(bytes) / bytesPerTokenOf(mixture, String(domain)),
  }));
  const curve = stage.weightCurve ?? mixture.weightCurve;
  const knownCurve: KnownWeightCurve = curve === 'fitted' ? (options.clusters.fittedCurve?.steps ?? 'none') : curve;
  const solution = solveMixture(groups, {
    targets: stage.targets ?? mixture.targets,
    weightCurve: knownCurve,
    maximumRepeats: stage.maximumRepeats ?? mixture.maximumRepeats,
    budgetBytes: stage.budgetTokens,
  });
  const weights = groups.map(
    ({ domain, duplicates }) => [domain, duplicates, solution.weightOf(domain, duplicates)] as const,
  );
  await fillTable(
    connection,
    'CREATE OR REPLACE TABLE stage_weights (domain VARCHAR, duplicates INTEGER, weight DOUBLE)',
    'stage_weights',
    weights,
  );
  const salt = hash32('stage', seed, stage.name) | 1;
  await connection.run(`
    CREATE OR REPLACE TABLE stage AS
    SELECT shard, row::INTEGER AS row, domain, tokens, (floor(weight) + CASE
        WHEN ((rank::UBIGINT * ${salt >>> 0}::UBIGINT) % 4294967291) < (weight - floor(weight)) * 4294967291 THEN 1 ELSE 0 END
      )::INTEGER AS repeats
    FROM eligible JOIN stage_weights USING (domain, duplicates)`);
  const path = `mixtures/${stage.name}.parquet`;
  await mkdir(join(options.outputFolder, 'mixtures'), { recursive: true });
  await produceFile(join(options.outputFolder, path), async (temporary) => {
    await connection.run(
      `COPY (SELECT shard, row, repeats FROM stage WHERE repeats > 0 ORDER BY shard, row)
       TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd)`,
    );
  });
  return {
    name: stage.name,
    path,
    sha256: await sha256OfFile(join(options.outputFolder, path)),
    report: await describeStage(connection, stage, options, solution.limitingDomain),
  };
}

async function describeStage(
  connection: DuckDBConnection,
  stage: StagePlan,
  options: StageOptions,
  limitingDomain: string | undefined,
): Promise<StageReport> {
  const targets = stage.targets ?? options.plan.mixture.targets;
  // Integers in thousandths of a token: the order of a sum never shows.
  const reader = await connection.runAndReadAll(`
    SELECT domain, count(*) FILTER (WHERE repeats > 0)::DOUBLE, sum(repeats * (tokens * 1000)::BIGINT)::DOUBLE, max(repeats)
    FROM stage GROUP BY domain ORDER BY domain`);
  const rows = reader.getRows().map(([domain, documents, milli, largest]) => ({
    domain: String(domain),
    documents: Number(documents),
    tokens: Math.round(Number(milli) / 1000),
    largestRepeats: Number(largest),
  }));
  const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
  return {
    name: stage.name,
    wantedTokens: stage.budgetTokens,
    tokens,
    limitingDomain,
    domains: rows.map((row) => ({
      ...row,
      share: Number((row.tokens / Math.max(1, tokens)).toPrecision(6)),
      targetShare: targets?.[row.domain],
    })),
  };
}

async function fillTable(
  connection: DuckDBConnection,
  create: string,
  table: string,
  rows: readonly (readonly [string, number] | readonly [string, number, number])[],
): Promise<void> {
  await connection.run(create);
  const appender = await connection.createAppender(table);
  for (const row of rows) {
    appender.appendVarchar(row[0]);
    if (row.length === 2) {
      appender.appendDouble(row[1]);
    } else {
      appender.appendInteger(row[1]);
      appender.appendDouble(row[2]);
    }
    appender.endRow();
  }
  appender.closeSync();
}
