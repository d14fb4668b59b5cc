/**
 * The manifest: what has to be the same for every byte to come out again. The plan with its defaults, the software that shapes
 * the bytes, a hash of every input file (in `inputs.jsonl`) and of every output file. Written last: a folder with a manifest is whole.
 */

import { join, relative } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import type { CurationPlan } from '../plan/schema.js';
import { curationFormatVersion } from '../plan/schema.js';
import { loadDuckDB } from '../util/load-duckdb.js';
import type { ReferenceFile } from './references.js';
import type { OutputShard } from './types.js';

export interface ManifestShard {
  /** Relative to the output folder, forward slashes. */
  path: string;
  documents: number;
  textBytes: number;
  sha256: string;
}

export interface MixtureFile {
  name: string;
  path: string;
  sha256: string;
}

export interface CurationManifest {
  formatVersion: number;
  software: { package: string; version: string; duckdb: string };
  planHash: string;
  plan: CurationPlan;
  columns: string[];
  inputs: { path: string; files: number; bytes: number; sha256: string };
  shards: ManifestShard[];
  heldout: ManifestShard[];
  /** Repeats of each document in each training stage; columns `shard, row, repeats`. */
  mixtures: MixtureFile[];
  /** Classifiers and evaluation sets that the plan names. */
  references: ReferenceFile[];
  /** Every document dropped for sharing text with an evaluation item. */
  decontamination?: { path: string; sha256: string };
  report: { path: string; sha256: string };
  reportHtml: { path: string; sha256: string };
  documents: number;
  textBytes: number;
}

/** What shapes the bytes besides the plan and the input. */
export async function softwareVersions(): Promise<CurationManifest['software']> {
  const { version } = await loadDuckDB();
  return { package: packageJson.name, version: packageJson.version, duckdb: version() };
}

export const columnNames = ['id', 'text', 'source', 'domain', 'language', 'quality', 'duplicates', 'weight'];

export function buildManifest(fields: {
  software: CurationManifest['software'];
  plan: CurationPlan;
  planHash: string;
  outputFolder: string;
  inputs: CurationManifest['inputs'];
  shards: readonly OutputShard[];
  heldout: readonly OutputShard[];
  mixtures: MixtureFile[];
  references: ReferenceFile[];
  decontamination: CurationManifest['decontamination'];
  reportSha256: string;
  reportHtmlSha256: string;
}): CurationManifest {
  const relativeShard = ({ path, ...rest }: OutputShard): ManifestShard => ({
    path: relative(fields.outputFolder, path).replaceAll('\\', '/'),
    ...rest,
  });
  return {
    formatVersion: curationFormatVersion,
    software: fields.software,
    planHash: fields.planHash,
    plan: fields.plan,
    columns: columnNames,
    inputs: fields.inputs,
    shards: fields.shards.map(relativeShard),
    heldout: fields.heldout.map(relativeShard),
    mixtures: fields.mixtures,
    references: fields.references,
    decontamination: fields.decontamination,
    report: { path: 'report.json', sha256: fields.reportSha256 },
    reportHtml: { path: 'report.html', sha256: fields.reportHtmlSha256 },
    documents: fields.shards.reduce((sum, shard) => sum + shard.documents, 0),
    textBytes: fields.shards.reduce((sum, shard) => sum + shard.textBytes, 0),
  };
}

/** Absolute paths again. */
export function shardsOf(manifest: readonly ManifestShard[], outputFolder: string): OutputShard[] {
  return manifest.map(({ path, ...rest }) => ({ path: join(outputFolder, path), ...rest }));
}
