/**
 * Pages of worked problems, as in a textbook: a heading, a few words, several problems with their solutions. They are the maths domain
 * of pre-training. Document `i` is a pure function of (seed, i) and shares no problem with another document of that seed.
 */

import { CurationError } from '../errors.js';
import { hash32, sha256Hex } from '../util/hash.js';
import { seededRandom } from '../util/permutation.js';
import { mathProblemAt, resolveMathOptions } from './math-problems.js';
import type { MathDocument, MathDocumentOptions, MathOperation, MathProblem } from './math-types.js';

const headings = [
  'Word problems',
  'Practice problems with solutions',
  'Worked examples',
  'Exercises in arithmetic',
  'Problems for today',
  'Sums in stories',
];
const introductions = [
  'Read each problem, write down the equation, then give the answer after four hash signs.',
  'Each solution shows one calculation a line. The last line holds the answer.',
  'Find the numbers in the story and decide what to do with them.',
  'Work through these problems step by step.',
  'Cover the solutions and try each problem first.',
];
const hints: Readonly<Record<MathOperation, string>> = {
  addition: 'The amounts are put together, so we add.',
  subtraction: 'Something is taken away, so we subtract.',
  multiplication: 'The same amount comes several times, so we multiply.',
  division: 'The amount is split into equal parts, so we divide.',
  comparison: 'Two amounts are compared.',
  money: 'We count in dollars.',
  time: 'We count the time.',
};

/** @throws CurationError `OPTION_INVALID` for a wrong option. */
export function generateMathDocuments(options: MathDocumentOptions): MathDocument[] {
  if (!Number.isSafeInteger(options.count) || options.count < 0) {
    throw new CurationError('OPTION_INVALID', `count is ${options.count}.`, {
      value: options.count,
      remedy: 'Give a whole number, 0 or more.',
    });
  }
  return [...mathDocuments(options, 0, options.count)];
}

/** Documents `first` to `last - 1` of the endless sequence. A place of the sequence that holds no problem gives no document. */
export function* mathDocuments(
  options: Omit<MathDocumentOptions, 'count'>,
  first: number,
  last: number,
): Generator<MathDocument> {
  const resolved = resolveMathOptions(options);
  const [fewest, most] = options.problemsPerDocument ?? [4, 12];
  if (!(Number.isSafeInteger(fewest) && Number.isSafeInteger(most) && fewest >= 1 && most >= fewest)) {
    throw new CurationError('OPTION_INVALID', `problemsPerDocument is [${fewest}, ${most}].`, {
      value: options.problemsPerDocument,
      remedy: 'Give two whole numbers, the smaller first, at least 1.',
    });
  }
  // Places of the problem sequence set aside for each document; more than it needs, since some places hold no problem.
  const stride = most * 3;
  for (let index = first; index < last; index++) {
    const random = seededRandom(hash32('math-document', options.seed, index));
    const wanted = fewest + Math.floor(random() * (most - fewest + 1));
    const problems: MathProblem[] = [];
    for (let place = index * stride; place < (index + 1) * stride && problems.length < wanted; place++) {
      const problem = mathProblemAt(resolved, place);
      if (problem !== undefined) problems.push(problem);
    }
    if (problems.length === 0) continue;
    const text = formatDocument(problems, random);
    yield { id: `math-document-${sha256Hex(text).slice(0, 16)}`, text };
  }
}

function formatDocument(problems: readonly MathProblem[], random: () => number): string {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)];
  const parts: string[] = [];
  if (random() < 0.7) parts.push(`# ${pick(headings)}`);
  if (random() < 0.5) parts.push(pick(introductions));
  const style = random();
  for (const [index, problem] of problems.entries()) {
    if (style < 0.6) {
      parts.push(`Question: ${problem.question}\nAnswer: ${problem.reasoning}`);
    } else if (style < 0.8) {
      parts.push(
        `Problem ${index + 1}. ${problem.question}\n\nSolution. ${hints[problem.operation]}\n${problem.reasoning}`,
      );
    } else {
      const steps = problem.reasoning.split('\n').slice(0, -1).join(', then ');
      parts.push(`${index + 1}. ${problem.question} We work out ${steps}. The answer is ${problem.answer}.`);
    }
  }
  return `${parts.join('\n\n')}\n`;
}
