/**
 * Files that a plan names besides its sources: classifiers and evaluation sets. They are loaded once before the work starts, so that
 * a wrong one stops the run at once, and hashed, so that a changed one is noticed.
 */

import { TextClassifier } from '../classifier/text-classifier.js';
import { loadNgramIndex } from '../decontamination/load-sets.js';
import type { NgramIndex } from '../decontamination/ngram-index.js';
import { CurationError } from '../errors.js';
import type { CurationPlan } from '../plan/schema.js';
import { createQualityScorer } from '../quality/scorer.js';
import { sha256OfFile } from '../util/files.js';

export interface ReferenceFile {
  /** As the plan writes it. */
  path: string;
  sha256: string;
}

export interface References {
  files: ReferenceFile[];
  evaluationNgrams: NgramIndex | undefined;
}

export async function hashReferences(plan: CurationPlan): Promise<ReferenceFile[]> {
  const paths = new Set<string>();
  if (plan.domains.method === 'classifier') paths.add(plan.domains.model);
  for (const entry of plan.quality) if (entry.method === 'classifier') paths.add(entry.model);
  for (const set of plan.decontamination?.sets ?? []) paths.add(set.path);
  const files: ReferenceFile[] = [];
  for (const path of paths) {
    const sha256 = await sha256OfFile(path).catch((error: unknown) => {
      throw new CurationError('INPUT_NOT_FOUND', `The file ${path}, which the plan names, cannot be read.`, {
        value: path,
        remedy: 'Check the path in the plan.',
        cause: error,
      });
    });
    files.push({ path, sha256 });
  }
  return files;
}

/** @throws CurationError for a file that is missing or not what the plan takes it for. */
export async function loadReferences(plan: CurationPlan): Promise<References> {
  const files = await hashReferences(plan);
  if (plan.domains.method === 'classifier') await TextClassifier.load(plan.domains.model);
  await createQualityScorer(plan.quality);
  return {
    files,
    evaluationNgrams: plan.decontamination === undefined ? undefined : await loadNgramIndex(plan.decontamination),
  };
}
