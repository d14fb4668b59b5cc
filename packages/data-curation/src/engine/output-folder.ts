/** The output folder as a whole: claimed by one plan, recognised when finished, read back. */

import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CurationError } from '../errors.js';
import type { CurationPlan } from '../plan/schema.js';
import type { CurationReport } from '../report/types.js';
import { canonicalJson } from '../util/canonical-json.js';
import { writeFileWhole } from '../util/files.js';
import type { CurationManifest } from './manifest.js';
import { shardsOf } from './manifest.js';
import { hashReferences } from './references.js';
import type { CurateResult } from './types.js';
import { removeWorkFolder, workFolder } from './work-folder.js';

/** Marks the folder with the plan, or refuses a folder that holds something else. */
export async function claimFolder(outputFolder: string, plan: CurationPlan, planHash: string): Promise<void> {
  await mkdir(outputFolder, { recursive: true });
  const path = join(outputFolder, 'plan.json');
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) {
    await writeFileWhole(path, `${canonicalJson({ planHash, plan }, 2)}\n`);
    return;
  }
  let found: unknown;
  try {
    found = (JSON.parse(text) as { planHash?: unknown }).planHash;
  } catch (error) {
    throw new CurationError('OUTPUT_CORRUPT', `${path} is not JSON.`, {
      value: path,
      remedy: 'Delete the output folder and curate again.',
      cause: error,
    });
  }
  if (found !== planHash) {
    throw new CurationError('OUTPUT_FOLDER_MISMATCH', `${outputFolder} holds the output of another plan.`, {
      value: outputFolder,
      remedy: 'Choose another output folder, or delete this one.',
    });
  }
}

/** The result of a folder that is whole, or undefined. Shards are checked for presence; `verifyCuration` checks their bytes. */
export async function readFinished(
  outputFolder: string,
  plan: CurationPlan,
  planHash: string,
): Promise<CurateResult | undefined> {
  if (outputFolder.includes('?')) {
    // DuckDB puts its log's name before a question mark in the path of its database.
    throw new CurationError('OPTION_INVALID', `The output folder ${outputFolder} has a question mark in its path.`, {
      value: outputFolder,
      remedy: 'Choose another.',
    });
  }
  const path = join(outputFolder, 'manifest.json');
  if (!(await exists(path))) return undefined;
  await claimFolder(outputFolder, plan, planHash);
  const manifest = await readJson<CurationManifest>(path);
  if (manifest.planHash !== planHash) {
    throw new CurationError('OUTPUT_CORRUPT', `${path} belongs to another plan than plan.json.`, {
      value: path,
      remedy: 'Delete the output folder and curate again.',
    });
  }
  for (const shard of [...manifest.shards, ...manifest.heldout]) {
    if (!(await exists(join(outputFolder, shard.path)))) {
      throw new CurationError('OUTPUT_CORRUPT', `${join(outputFolder, shard.path)} is missing.`, {
        value: shard.path,
        remedy: 'Delete the output folder and curate again.',
      });
    }
  }
  if (canonicalJson(await hashReferences(plan)) !== canonicalJson(manifest.references)) {
    throw new CurationError('INPUT_CHANGED', `A classifier or evaluation set changed since ${outputFolder} was made.`, {
      value: outputFolder,
      remedy: 'Curate into a new folder.',
    });
  }
  await removeWorkFolder(workFolder(outputFolder));
  return curateResult(outputFolder, manifest, await readJson<CurationReport>(join(outputFolder, 'report.json')), {
    timings: {},
    processorTimings: {},
    documentTimings: {},
  });
}

export function curateResult(
  outputFolder: string,
  manifest: CurationManifest,
  report: CurationReport,
  times: Pick<CurateResult, 'timings' | 'processorTimings' | 'documentTimings'>,
): CurateResult {
  return {
    outputFolder,
    shards: shardsOf(manifest.shards, outputFolder),
    heldout: shardsOf(manifest.heldout, outputFolder),
    mixtures: Object.fromEntries(manifest.mixtures.map(({ name, path }) => [name, join(outputFolder, path)])),
    manifestPath: join(outputFolder, 'manifest.json'),
    reportPath: join(outputFolder, 'report.json'),
    reportHtmlPath: join(outputFolder, 'report.html'),
    report,
    ...times,
  };
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

export async function readJson<T>(path: string): Promise<T> {
  const text = await readFile(path, 'utf8');
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new CurationError('OUTPUT_CORRUPT', `${path} is not JSON.`, {
      value: path,
      remedy: 'Delete the file, or the output folder, and curate again.',
      cause: error,
    });
  }
}
