/** The quality score of a document, by rules or by trained classifiers, as the plan says. */

import { TextClassifier } from '../classifier/text-classifier.js';
import { CurationError } from '../errors.js';
import type { QualityPlan } from '../plan/reference-schema.js';
import type { CandidateDocument } from '../text/candidate.js';
import { linearQuality } from './linear-score.js';

interface Scorer {
  domains: ReadonlySet<string> | undefined;
  score: (document: CandidateDocument) => number;
}

/** Scores lie in [0, 1], rounded to 4 decimals. A document that no entry covers is scored by the rules. */
export async function createQualityScorer(plan: QualityPlan): Promise<(document: CandidateDocument) => number> {
  const byRules = ({ text, domain }: CandidateDocument) => linearQuality(text, domain === 'code' ? 'code' : 'prose');
  const scorers: Scorer[] = [];
  for (const entry of plan) {
    const domains = entry.domains === undefined ? undefined : new Set(entry.domains);
    if (entry.method === 'rules') {
      scorers.push({ domains, score: byRules });
      continue;
    }
    const classifier = await TextClassifier.load(entry.model);
    if (!classifier.labels.includes(entry.label)) {
      throw new CurationError('PLAN_INVALID', `The classifier ${entry.model} has no label "${entry.label}".`, {
        value: entry.label,
        remedy: `Set quality[].label to one of ${classifier.labels.join(', ')}.`,
      });
    }
    scorers.push({
      domains,
      score: ({ text }) => Math.round(classifier.probabilityOf(text, entry.label) * 10_000) / 10_000,
    });
  }
  return (document) => {
    for (const { domains, score } of scorers)
      if (domains === undefined || domains.has(document.domain)) return score(document);
    return byRules(document);
  };
}
