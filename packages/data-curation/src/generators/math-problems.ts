/**
 * Word problems with checkable answers. Each problem is a pure function of (seed, index): distinct by construction, since a
 * template's combinations of numbers and words are walked in a seeded permutation. About a billion problems at level 1.
 * A problem belongs to the `train` or `heldout` split by the hash of its canonical form (template and numbers), so the sides
 * share no problem even with other names and things. Cost: about 3 µs a problem.
 */

import { CurationError } from '../errors.js';
import { hash32, sha256Hex } from '../util/hash.js';
import { permutedIndex } from '../util/permutation.js';
import { multiStepTemplates } from './math-multi-step-templates.js';
import type { MathTemplate, StoryWords } from './math-templates.js';
import { oneStepTemplates } from './math-templates.js';
import type { MathDifficulty, MathProblem, MathProblemOptions } from './math-types.js';
import { containerNames, personNames, thingNames } from './math-words.js';

export const mathTemplates: readonly MathTemplate[] = [...oneStepTemplates, ...multiStepTemplates];

type ResolvedOptions = Required<Omit<MathProblemOptions, 'count' | 'difficulty' | 'operations'>> & {
  slots: readonly { template: MathTemplate; difficulty: MathDifficulty; size: number; key: number }[];
};

/**
 * The first `count` problems of the sequence.
 * @throws CurationError `OPTION_INVALID` for a wrong option, or a count above the number of different problems.
 */
export function generateMathProblems(options: MathProblemOptions): MathProblem[] {
  if (!Number.isSafeInteger(options.count) || options.count < 0) {
    throw new CurationError('OPTION_INVALID', `count is ${options.count}.`, {
      value: options.count,
      remedy: 'Give a whole number, 0 or more.',
    });
  }
  const resolved = resolveMathOptions(options);
  const problems: MathProblem[] = [];
  const largest = Math.max(...resolved.slots.map((slot) => slot.size)) * resolved.slots.length;
  for (let index = 0; problems.length < options.count; index++) {
    if (index >= largest) {
      throw new CurationError('OPTION_INVALID', `There are only ${problems.length} different problems of this kind.`, {
        value: options.count,
        remedy: 'Lower count, or allow more operations or levels of difficulty.',
      });
    }
    const problem = mathProblemAt(resolved, index);
    if (problem !== undefined) problems.push(problem);
  }
  return problems;
}

export function resolveMathOptions(options: Omit<MathProblemOptions, 'count'>): ResolvedOptions {
  const { seed, split = 'train', heldoutFraction = 0.05 } = options;
  const levels = options.difficulty === undefined ? [1 as const] : [options.difficulty].flat();
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new CurationError('OPTION_INVALID', `seed is ${seed}.`, {
      value: seed,
      remedy: 'Give a whole number, 0 or more.',
    });
  }
  if (!(heldoutFraction >= 0 && heldoutFraction <= 0.5)) {
    throw new CurationError('OPTION_INVALID', `heldoutFraction is ${heldoutFraction}.`, {
      value: heldoutFraction,
      remedy: 'Give a share between 0 and 0.5.',
    });
  }
  const slots = levels.flatMap((difficulty) =>
    mathTemplates
      .filter((template) => template.levels[difficulty] !== undefined)
      .filter((template) => options.operations?.includes(template.operation) ?? true)
      .map((template) => ({
        template,
        difficulty,
        size: templateSize(template, difficulty),
        key: hash32('math', seed, template.id, difficulty),
      })),
  );
  if (slots.length === 0) {
    throw new CurationError('OPTION_INVALID', 'No template has this combination of difficulty and operations.', {
      value: { difficulty: options.difficulty, operations: options.operations },
      remedy: 'Use difficulties 1, 2 or 3 and at least one operation.',
    });
  }
  return { seed, split, heldoutFraction, slots };
}

/**
 * The problem at a place of the endless sequence; undefined where the place holds none (another split, a refused
 * combination, a template used up). Two places never hold the same problem.
 */
export function mathProblemAt(options: ResolvedOptions, index: number): MathProblem | undefined {
  const { slots } = options;
  const round = Math.floor(index / slots.length);
  const order = permutedIndex(index % slots.length, slots.length, (options.seed * 7919 + round) >>> 0);
  const { template, difficulty, size, key } = slots[order];
  if (round >= size) return undefined;
  let rest = permutedIndex(round, size, key);
  const take = (count: number): number => {
    const digit = rest % count;
    rest = Math.floor(rest / count);
    return digit;
  };
  const raw = template.levels[difficulty]!.map(([smallest, largest]) => smallest + take(largest - smallest + 1));
  const numbers = template.numbers === undefined ? raw : template.numbers(raw, difficulty);
  if (numbers === undefined || belongsToLowerLevel(template, difficulty, raw)) return undefined;
  const canonical = `${template.id}:${numbers.join(',')}`;
  const heldout = hash32('math-split', canonical) < options.heldoutFraction * 2 ** 32;
  if (heldout !== (options.split === 'heldout')) return undefined;
  const question = template.question(takeWords(template, take), numbers);
  const lines: string[] = [];
  let answer = 0;
  for (const [left, operator, right] of template.steps(numbers)) {
    answer = evaluate(left, operator, right);
    lines.push(`${left} ${operator} ${right} = ${answer}`);
  }
  return {
    id: `math-${sha256Hex(question).slice(0, 16)}`,
    question,
    reasoning: `${lines.join('\n')}\n#### ${answer}`,
    answer,
    difficulty,
    operation: template.operation,
  };
}

/** Whether an easier level of the template holds the same problem: it counts there, so that levels share none. */
function belongsToLowerLevel(template: MathTemplate, difficulty: MathDifficulty, raw: readonly number[]): boolean {
  for (let level = 1; level < difficulty; level++) {
    const lower = level as MathDifficulty;
    const ranges = template.levels[lower];
    if (ranges === undefined) continue;
    const inside = ranges.every(([smallest, largest], index) => raw[index] >= smallest && raw[index] <= largest);
    if (inside && (template.numbers === undefined || template.numbers(raw, lower) !== undefined)) return true;
  }
  return false;
}

/** Number of combinations of raw numbers and words. */
export function templateSize(template: MathTemplate, difficulty: MathDifficulty): number {
  let size = 1;
  for (const [smallest, largest] of template.levels[difficulty] ?? []) size *= largest - smallest + 1;
  if (template.uses.includes('name')) size *= personNames.length;
  if (template.uses.includes('other')) size *= personNames.length - 1;
  if (template.uses.includes('thing')) size *= thingNames.length;
  if (template.uses.includes('container')) size *= containerNames.length;
  return size;
}

function takeWords(template: MathTemplate, take: (count: number) => number): StoryWords {
  const uses = (word: 'name' | 'other' | 'thing' | 'container', count: number) =>
    template.uses.includes(word) ? take(count) : 0;
  const name = uses('name', personNames.length);
  const other = (name + 1 + uses('other', personNames.length - 1)) % personNames.length;
  const [thing, things] = thingNames[uses('thing', thingNames.length)];
  const [container, containers] = containerNames[uses('container', containerNames.length)];
  return { name: personNames[name], other: personNames[other], thing, things, container, containers };
}

function evaluate(left: number, operator: '+' | '-' | '*' | '/', right: number): number {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
      return left / right;
  }
}
