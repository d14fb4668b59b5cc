/**
 * Long documents for learning to look things up: filler text cut from supplied documents, facts planted at random depths, and
 * questions with their answers at the end. The templates are exported, so that an evaluation can ask in the same words.
 * Document `i` is a pure function of (options, i). Cost: a few calls of `measure` a document.
 */

import { CurationError } from '../errors.js';
import { hash32 } from '../util/hash.js';
import { seededRandom } from '../util/permutation.js';
import { personNames } from './math-words.js';
import type {
  RetrievalDocument,
  RetrievalDocumentOptions,
  RetrievalFact,
  RetrievalTemplates,
} from './retrieval-types.js';

export const defaultRetrievalTemplates: RetrievalTemplates = {
  fact: 'The secret code of {name} is {value}.',
  question: 'What is the secret code of {name}?',
  answerPrefix: 'The secret code of {name} is',
  answer: ' {value}.',
};

/** Names that facts are about. */
export const retrievalNames: readonly string[] = personNames;

/** Everyday words to plant as values: common enough in any text to be a token or two. */
export const retrievalWords: readonly string[] = (
  'apple river stone light music paper window garden silver market winter summer bridge forest island castle dragon engine ' +
  'flower friend guitar hammer jacket kitten ladder mirror needle orange pencil rabbit saddle table turtle violin wagon yellow ' +
  'zebra bottle candle dinner button carpet desert eagle feather glove harbor ink jungle kettle lemon meadow nest ocean pepper ' +
  'quilt rocket shadow thunder valley whistle'
).split(' ');

/** How many sentences `fillWhole` looks at for one that still fits. */
const sentencesTried = 64;

/** @throws CurationError `OPTION_INVALID` for a wrong option, no filler, or a length too small for the facts and questions. */
export function generateRetrievalDocuments(options: RetrievalDocumentOptions): RetrievalDocument[] {
  return [...retrievalDocuments(options)];
}

export function* retrievalDocuments(options: RetrievalDocumentOptions): Generator<RetrievalDocument> {
  const { seed, count, templates = defaultRetrievalTemplates, questions = 1, valueDigits = 4, values } = options;
  const measure = options.measure ?? ((text: string) => text.length);
  const [fewestFacts, mostFacts] = options.facts ?? [1, 8];
  const { length } = options;
  const [shortest, longest] = length === undefined ? [1, 1] : typeof length === 'number' ? [length, length] : length;
  requireOption(Number.isSafeInteger(count) && count >= 0, 'count', count, 'a whole number, 0 or more');
  requireOption(Number.isSafeInteger(seed) && seed >= 0, 'seed', seed, 'a whole number, 0 or more');
  requireOption(shortest >= 1 && longest >= shortest, 'length', options.length, 'a positive length or a rising range');
  requireOption(
    Number.isSafeInteger(fewestFacts) &&
      fewestFacts >= 1 &&
      mostFacts >= fewestFacts &&
      mostFacts <= personNames.length,
    'facts',
    options.facts,
    `a rising range between 1 and ${personNames.length}`,
  );
  requireOption(Number.isSafeInteger(questions) && questions >= 1, 'questions', questions, 'a whole number, 1 or more');
  requireOption(
    Number.isSafeInteger(valueDigits) && valueDigits >= 1 && valueDigits <= 15,
    'valueDigits',
    valueDigits,
    '1 to 15',
  );
  requireOption(values === undefined || values.length > 0, 'values', values, 'at least one value, or leave it out');
  const sentences = options.filler.map(splitSentences).filter((list) => list.length > 0);
  requireOption(
    length === undefined || sentences.length > 0,
    'filler',
    options.filler.length,
    'at least one document with text',
  );

  for (let index = 0; index < count; index++) {
    const random = seededRandom(hash32('retrieval', seed, index));
    const below = (limit: number) => Math.floor(random() * limit);
    const target = shortest + below(Math.floor(longest - shortest) + 1);
    const factCount = fewestFacts + below(mostFacts - fewestFacts + 1);
    const names = shuffled(personNames, random).slice(0, factCount);
    const planted = names.map((name) => ({
      name,
      value: values
        ? values[below(values.length)]
        : String(10 ** (valueDigits - 1) + below(9 * 10 ** (valueDigits - 1))),
      depth: random(),
    }));
    const asked = shuffled(planted, random).slice(0, Math.min(questions, factCount));
    const tail = asked
      .map(
        (fact) =>
          `${fill(templates.question, fact)}\n${fill(templates.answerPrefix, fact)}${fill(templates.answer, fact)}`,
      )
      .join('\n');
    const fixed = measure(`${planted.map((fact) => fill(templates.fact, fact)).join(' ')}\n\n${tail}\n`);
    requireOption(
      length === undefined || fixed <= target,
      'length',
      target,
      `at least ${fixed}, which the ${factCount} facts and ${asked.length} questions alone need`,
    );
    const filler = length === undefined ? undefined : new FillerCursor(sentences, random);
    const body = filler?.take(target - fixed, measure) ?? [];
    let { text, facts } = plant(body, planted, templates);
    while (filler !== undefined && options.fillWhole === true && body.length > 0) {
      const more = filler.take(target - measure(`${text}\n\n${tail}\n`), measure, sentencesTried);
      if (more.length === 0) break;
      body.push(...more);
      ({ text, facts } = plant(body, planted, templates));
    }
    // The pieces were measured apart: the whole may be a little longer.
    while (body.length > 0 && measure(`${text}\n\n${tail}\n`) > target) {
      body.pop();
      ({ text, facts } = plant(body, planted, templates));
    }
    const depths = new Map(facts.map((fact) => [fact.name, fact.depth]));
    yield {
      id: `retrieval-${seed}-${index}`,
      text: `${text}\n\n${tail}\n`,
      facts,
      questions: asked.map((fact) => ({
        question: fill(templates.question, fact),
        answerPrefix: fill(templates.answerPrefix, fact),
        answer: fill(templates.answer, fact),
        value: fact.value,
        depth: depths.get(fact.name)!,
      })),
    };
  }
}

function fill(template: string, fact: { name: string; value: string }): string {
  return template.replaceAll('{name}', () => fact.name).replaceAll('{value}', () => fact.value);
}

/** Sentences (or lines, for text without sentences), each with the whitespace that follows it. */
function splitSentences(text: string): string[] {
  return (text.match(/[^\n.!?]*(?:[.!?]+["')\]]*(?=\s|$)|\n|$|[.!?])\s*/g) ?? []).filter(
    (piece) => piece.trim() !== '',
  );
}

/** Sentences from a random place on, going on with the next document at an end. */
class FillerCursor {
  private document = 0;
  private sentence = 0;

  constructor(
    private readonly documents: readonly (readonly string[])[],
    random: () => number,
  ) {
    this.document = Math.floor(random() * documents.length);
    this.sentence = Math.floor(random() * documents[this.document].length);
  }

  /** The next sentences, up to `target` in sum; so many that are too long are passed over before it stops. */
  take(target: number, measure: (text: string) => number, passedOver = 0): string[] {
    const result: string[] = [];
    let length = 0;
    while (length < target) {
      const next = this.documents[this.document][this.sentence];
      if (next === undefined) {
        this.document = (this.document + 1) % this.documents.length;
        this.sentence = 0;
        const last = result.length - 1;
        if (last >= 0) result[last] = `${result[last].trimEnd()}\n\n`;
        continue;
      }
      const added = measure(next);
      if (length + added > target) {
        if (passedOver-- <= 0) break;
      } else {
        result.push(next);
        length += Math.max(1, added);
      }
      this.sentence++;
    }
    return result;
  }
}

function plant(
  body: readonly string[],
  planted: readonly { name: string; value: string; depth: number }[],
  templates: RetrievalTemplates,
): { text: string; facts: RetrievalFact[] } {
  const places = planted
    .map((fact) => ({ ...fact, place: Math.round(fact.depth * body.length) }))
    .sort((a, b) => a.place - b.place || (a.name < b.name ? -1 : 1));
  let text = '';
  let next = 0;
  const starts: { name: string; value: string; start: number }[] = [];
  for (let at = 0; at <= body.length; at++) {
    while (next < places.length && places[next].place === at) {
      const fact = places[next++];
      if (text !== '' && !/\s$/.test(text)) text += ' ';
      starts.push({ name: fact.name, value: fact.value, start: text.length });
      text += `${fill(templates.fact, fact)} `;
    }
    text += body[at] ?? '';
  }
  text = text.trimEnd();
  return {
    text,
    facts: starts.map(({ name, value, start }) => ({
      name,
      value,
      depth: text.length === 0 ? 0 : start / text.length,
    })),
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const copy = [...items];
  for (let index = copy.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [copy[index], copy[other]] = [copy[other], copy[index]];
  }
  return copy;
}

function requireOption(condition: boolean, option: string, value: unknown, wanted: string): asserts condition {
  if (!condition) {
    throw new CurationError('OPTION_INVALID', `${option} is ${JSON.stringify(value)}.`, {
      value,
      remedy: `Give ${wanted}.`,
    });
  }
}
