/** The domain of a document, by rules or by a trained classifier, as the plan says. */

import { TextClassifier } from '../classifier/text-classifier.js';
import type { DomainsPlan } from '../plan/reference-schema.js';
import type { CandidateDocument } from '../text/candidate.js';
import { classifyDomain } from './rule-classifier.js';

export async function createDomainClassifier(plan: DomainsPlan): Promise<(document: CandidateDocument) => string> {
  if (plan.method === 'rules') return classifyDomain;
  const classifier = await TextClassifier.load(plan.model);
  return (document) => {
    const { label, probability } = classifier.predict(document.text);
    return probability < plan.minimumProbability ? 'other' : label;
  };
}
