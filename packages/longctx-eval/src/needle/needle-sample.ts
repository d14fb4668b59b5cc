/**
 * One needle prompt of an exact number of tokens. The filler is measured in characters: with sub-word tokenizers a character
 * more is at most about a token more, so the target is hit exactly unless the tokenizer leaves it out. The needle stands
 * where a sentence begins, as near as there is one to the depth asked for.
 */

import { Filler, insertSentences, nearestBoundary } from '../context/filler.js';
import { fitTokens, fitTokensExactly } from '../context/fit-tokens.js';
import { adjectives, nouns } from '../context/words.js';
import { EvaluationError } from '../errors.js';
import type { Prompt } from '../model/types.js';
import { seededRandom, type SeededRandom } from '../random.js';
import type { NeedleContextOptions, NeedleSample, NeedleTemplate } from './types.js';

export const defaultNeedleTemplate: NeedleTemplate = {
  needle: 'The access code of the {key} is {value}.',
  question: 'Question: What is the access code of the {key}?\nAnswer: The access code of the {key} is',
  prompt: '{context}\n\n{question}',
};

export interface NeedleSampleOptions extends NeedleContextOptions {
  /** Tokens of the whole prompt. */
  length: number;
  /** In [0, 1]. */
  depth: number;
  seed: number;
  /** Part of the sample's name and of its randomness. Default 0. */
  index?: number;
}

export function needleSample(options: NeedleSampleOptions): NeedleSample {
  const { length, depth, seed, index = 0, template = defaultNeedleTemplate, countTokens } = options;
  if (!(depth >= 0 && depth <= 1)) {
    throw new EvaluationError('INVALID_OPTIONS', `A depth lies between 0 and 1, but one is ${depth}.`, {
      value: depth,
      remedy: 'Give shares of the context, not per cent.',
    });
  }
  checkTemplate(template);
  const id = `${length}/${depth}/${index}`;
  const random = seededRandom(seed, 'needle', id);
  const pairs = drawPairs(random, options);
  const { key, value } = pairs[0];
  const filler = new Filler(options.haystack, random);
  const others = pairs.slice(1).map((pair) => ({ ...pair, depth: random.uniform() }));

  const offsets = (text: string, boundary: (text: string, offset: number) => number) => ({
    needle: depth === 1 ? text.length : boundary(text, Math.round(depth * text.length)),
    others: others.map((other) => boundary(text, Math.round(other.depth * text.length))),
  });
  const build = (size: number, fixed?: ReturnType<typeof offsets>): { prompt: Prompt; needleAt: number } => {
    const text = size === 0 ? '' : filler.take(size);
    const places = fixed ?? offsets(text, nearestBoundary);
    const needleAt = depth === 1 ? text.length : Math.min(places.needle, text.length);
    const context = insertSentences(text, [
      ...others.map((other, i) => ({
        offset: Math.min(places.others[i] ?? 0, text.length),
        sentence: fill(template.needle, other),
      })),
      { offset: needleAt, sentence: fill(template.needle, { key, value }) },
    ]);
    return { prompt: wholePrompt(template, context, key), needleAt };
  };

  // Near the target the places stay fixed, so that only the last characters change from one count to the next.
  const what = `A needle prompt (sample ${id})`;
  const maximum = fillerSize(length, (size) => countTokens(build(size).prompt));
  const rough = fitTokens({ count: (size) => countTokens(build(size).prompt), target: length, maximum, what });
  const fixed = offsets(rough.size === 0 ? '' : filler.take(rough.size), nearestBoundary);
  const exact = fitTokensExactly({
    count: (size) => countTokens(build(size, fixed).prompt),
    target: length,
    minimum: Math.max(0, rough.size - 64),
    maximum: rough.size + 64,
    what,
  });
  const { prompt, needleAt } = build(exact.size, fixed);
  const actualDepth = exact.size === 0 ? depth : needleAt / exact.size;
  return { id, prompt, key, value, length, depth, promptTokens: exact.tokens, actualDepth };
}

/** Characters that are surely enough: doubled until they are too many. */
function fillerSize(target: number, count: (size: number) => number): number {
  let size = Math.max(256, target * 4);
  while (count(size) <= target) {
    if (size > target * 4096) {
      throw new EvaluationError('HAYSTACK_TOO_SHORT', `${size} characters of the haystack make no ${target} tokens.`, {
        value: target,
        remedy: 'Check countTokens: it must grow with the text.',
      });
    }
    size *= 2;
  }
  return size;
}

interface Pair {
  key: string;
  value: string;
}

function drawPairs(random: SeededRandom, options: NeedleContextOptions): Pair[] {
  const { keys, values = { digits: 7 }, distractors = 0 } = options;
  const count = distractors + 1;
  const available = keys?.length ?? adjectives.length * nouns.length;
  if (available < count || (isList(values) && values.length < count)) {
    throw new EvaluationError(
      'INVALID_OPTIONS',
      `${count} needles need as many different keys and values, but there are ${available} keys` +
        `${isList(values) ? ` and ${values.length} values` : ''}.`,
      { value: distractors, remedy: 'Give more keys or values, or fewer distractors.' },
    );
  }
  const chosenKeys = random.distinct(count, available).map((i) => keys?.[i] ?? defaultKey(i));
  if (isList(values)) {
    const chosen = random.distinct(count, values.length);
    return chosenKeys.map((key, i) => ({ key, value: values[chosen[i] ?? 0] ?? '' }));
  }
  const seen = new Set<string>();
  while (seen.size < count) seen.add(random.digits(values.digits));
  const numbers = [...seen];
  return chosenKeys.map((key, i) => ({ key, value: numbers[i] ?? '' }));
}

const isList = (values: readonly string[] | { digits: number }): values is readonly string[] => Array.isArray(values);

/** `amber anchor`: two plain words rather than a hyphen, which small vocabularies split. */
function defaultKey(index: number): string {
  return `${adjectives[Math.floor(index / nouns.length)]} ${nouns[index % nouns.length]}`;
}

function fill(
  text: string,
  values: Readonly<Partial<Record<'key' | 'value' | 'context' | 'question', string>>>,
): string {
  return text.replace(/\{(key|value|context|question)\}/g, (whole, name: keyof typeof values) => values[name] ?? whole);
}

function wholePrompt(template: NeedleTemplate, context: string, key: string): Prompt {
  const question = fill(template.question, { key });
  const text = fill(template.prompt ?? '{context}\n\n{question}', { context, question });
  return template.chat === true ? [{ role: 'user', content: text }] : text;
}

function checkTemplate(template: NeedleTemplate): void {
  const missing = [
    ...['{key}', '{value}'].filter((name) => !template.needle.includes(name)).map((name) => `needle lacks ${name}`),
    ...(template.question.includes('{key}') ? [] : ['question lacks {key}']),
    ...['{context}', '{question}']
      .filter((name) => template.prompt !== undefined && !template.prompt.includes(name))
      .map((name) => `prompt lacks ${name}`),
  ];
  if (missing.length === 0) return;
  throw new EvaluationError('INVALID_OPTIONS', `The needle template is not complete: ${missing.join(', ')}.`, {
    value: template,
    remedy: 'Add the placeholder.',
  });
}
