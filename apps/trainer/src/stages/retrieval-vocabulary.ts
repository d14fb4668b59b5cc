/**
 * One wording for the retrieval text that is trained on and the needles that are asked for. The value follows the name at once, as a
 * surname does: a model of this size learns "after this name came that word" in a few million tokens, and "the code of this
 * name is that word", or any digits, not at all (docs/log.md).
 */
import { retrievalNames, retrievalWords, type RetrievalTemplates } from '@xgen-small/data-curation';
import type { NeedleTemplate } from '@xgen-small/longctx-eval';

export const retrievalTemplates: RetrievalTemplates = {
  fact: 'The name of the guest is {name} {value}.',
  question: 'What is the full name of {name}?',
  answerPrefix: 'The name of the guest is {name}',
  answer: ' {value}.',
};

const placeholders = (template: string): string => template.replaceAll('{name}', '{key}');

export const needleTemplate: NeedleTemplate = {
  needle: placeholders(retrievalTemplates.fact),
  question: `${placeholders(retrievalTemplates.question)}\n${placeholders(retrievalTemplates.answerPrefix)}`,
};

/** Surnames made of everyday words. */
export const retrievalValues = retrievalWords.map((word) => word[0].toUpperCase() + word.slice(1));

export { retrievalNames };
