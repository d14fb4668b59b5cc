/** One wording for the retrieval text that is trained on and the needles that are asked for; the values are words, see quickstart. */
import { defaultRetrievalTemplates, retrievalNames, retrievalWords } from '@xgen-small/data-curation';
import type { NeedleTemplate } from '@xgen-small/longctx-eval';

const placeholders = (template: string): string => template.replaceAll('{name}', '{key}');

export const needleTemplate: NeedleTemplate = {
  needle: placeholders(defaultRetrievalTemplates.fact),
  question: `${placeholders(defaultRetrievalTemplates.question)}\n${placeholders(defaultRetrievalTemplates.answerPrefix)}`,
};
export { retrievalNames, retrievalWords as retrievalValues };
