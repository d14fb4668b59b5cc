/**
 * The templates of maths problems. A template turns raw numbers (each uniform in its range) into the numbers of a problem, tells
 * the story and lists the steps; results are always computed from the steps, never written twice. Raw numbers are chosen so
 * that answers are integers: a difference instead of a minuend, a quotient instead of a dividend.
 */

import type { MathDifficulty, MathOperation } from './math-types.js';

export type Step = readonly [left: number, operator: '+' | '-' | '*' | '/', right: number];

export interface StoryWords {
  /** Two different people. */
  name: string;
  other: string;
  thing: string;
  things: string;
  container: string;
  containers: string;
}

type Range = readonly [smallest: number, largest: number];

export interface MathTemplate {
  /** Part of every canonical form: never rename. */
  id: string;
  operation: MathOperation;
  /** Ranges of the raw numbers by difficulty; a level that is absent does not exist for this template. */
  levels: Partial<Record<MathDifficulty, readonly Range[]>>;
  /** Raw → numbers of the story; undefined refuses the combination. Default: as they are. */
  numbers?: (raw: readonly number[], level: MathDifficulty) => readonly number[] | undefined;
  question: (words: StoryWords, numbers: readonly number[]) => string;
  steps: (numbers: readonly number[]) => readonly Step[];
  /** Which words occur in the story; the others are not varied. */
  uses: readonly ('name' | 'other' | 'thing' | 'container')[];
}

const small: Range = [1, 20];
const medium: Range = [2, 100];
const factor: Range = [2, 10];
const oneStepSums = { 1: [small, small], 2: [medium, medium] } as const;

/** [b, a - b] → [a, b]: the first number is the larger one, at most 20 or 100. */
const differenceFirst = (raw: readonly number[], level: MathDifficulty) => {
  const [b, difference] = raw as [number, number];
  return b + difference <= (level === 1 ? 20 : level === 2 ? 100 : 1000) ? [b + difference, b] : undefined;
};
/** [quotient, divisor] → [dividend, divisor], the dividend at most 20 or 100. */
const quotientFirst = (raw: readonly number[], level: MathDifficulty) => {
  const [quotient, divisor] = raw as [number, number];
  return quotient * divisor <= (level === 1 ? 20 : 100) ? [quotient * divisor, divisor] : undefined;
};
const productLimit = (raw: readonly number[], level: MathDifficulty) =>
  raw[0] * raw[1] <= (level === 1 ? 100 : 200) ? raw : undefined;

const add = (n: readonly number[]): readonly Step[] => [[n[0], '+', n[1]]];
const subtract = (n: readonly number[]): readonly Step[] => [[n[0], '-', n[1]]];
const multiply = (n: readonly number[]): readonly Step[] => [[n[0], '*', n[1]]];
const divide = (n: readonly number[]): readonly Step[] => [[n[0], '/', n[1]]];

const differences = { 1: [[1, 19] as Range, [1, 19] as Range], 2: [[2, 98] as Range, [2, 98] as Range] } as const;
const products = { 1: [factor, factor], 2: [[2, 20] as Range, [2, 20] as Range] } as const;
const quotients = { 1: [factor, factor], 2: [[2, 20] as Range, [2, 12] as Range] } as const;

export const oneStepTemplates: readonly MathTemplate[] = [
  {
    id: 'add-find',
    operation: 'addition',
    levels: oneStepSums,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${plural(w, a)} and finds ${b} more. How many ${w.things} does ${w.name} have now?`,
    steps: add,
  },
  {
    id: 'add-together',
    operation: 'addition',
    levels: oneStepSums,
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${plural(w, a)}. ${w.other} has ${b} ${plural(w, b)}. How many ${w.things} do they have together?`,
    steps: add,
  },
  {
    id: 'add-colours',
    operation: 'addition',
    levels: oneStepSums,
    uses: ['thing', 'container'],
    question: (w, [a, b]) =>
      `A ${w.container} holds ${a} red ${plural(w, a)} and ${b} blue ${plural(w, b)}. How many ${w.things} are in the ${w.container}?`,
    steps: add,
  },
  {
    id: 'add-pages',
    operation: 'addition',
    levels: oneStepSums,
    uses: ['name'],
    question: (w, [a, b]) =>
      `${w.name} read ${a} ${a === 1 ? 'page' : 'pages'} on Monday and ${b} on Tuesday. How many pages did ${w.name} read in all?`,
    steps: add,
  },
  {
    id: 'subtract-give',
    operation: 'subtraction',
    levels: differences,
    numbers: differenceFirst,
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${w.things} and gives ${b} to ${w.other}. How many ${w.things} does ${w.name} have left?`,
    steps: subtract,
  },
  {
    id: 'subtract-take-out',
    operation: 'subtraction',
    levels: differences,
    numbers: differenceFirst,
    uses: ['name', 'thing', 'container'],
    question: (w, [a, b]) =>
      `There are ${a} ${w.things} in a ${w.container}. ${w.name} takes out ${b}. How many ${w.things} stay in the ${w.container}?`,
    steps: subtract,
  },
  {
    id: 'subtract-need',
    operation: 'subtraction',
    levels: differences,
    numbers: differenceFirst,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} needs ${a} ${w.things} and has ${b}. How many more ${w.things} does ${w.name} need?`,
    steps: subtract,
  },
  {
    id: 'subtract-bus',
    operation: 'subtraction',
    levels: differences,
    numbers: differenceFirst,
    uses: ['name'],
    question: (w, [a, b]) =>
      `${w.name} drives a bus with ${a} people. Then ${b} of them ${b === 1 ? 'gets' : 'get'} off. How many people are still on the bus?`,
    steps: subtract,
  },
  {
    id: 'compare-difference',
    operation: 'comparison',
    levels: differences,
    numbers: differenceFirst,
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${w.things}. ${w.other} has ${b} ${plural(w, b)}. How many more ${w.things} does ${w.name} have than ${w.other}?`,
    steps: subtract,
  },
  {
    id: 'compare-more',
    operation: 'comparison',
    levels: oneStepSums,
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${plural(w, a)}. ${w.other} has ${b} more than ${w.name}. How many ${w.things} does ${w.other} have?`,
    steps: add,
  },
  {
    id: 'compare-fewer',
    operation: 'comparison',
    levels: differences,
    numbers: differenceFirst,
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${w.things}. ${w.other} has ${b} fewer than ${w.name}. How many ${w.things} does ${w.other} have?`,
    steps: subtract,
  },
  {
    id: 'compare-times',
    operation: 'comparison',
    levels: products,
    numbers: productLimit,
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${w.things}. ${w.other} has ${b} times as many. How many ${w.things} does ${w.other} have?`,
    steps: multiply,
  },
  {
    id: 'multiply-containers',
    operation: 'multiplication',
    levels: products,
    numbers: productLimit,
    uses: ['name', 'thing', 'container'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${w.containers} with ${b} ${w.things} in each. How many ${w.things} does ${w.name} have in all?`,
    steps: multiply,
  },
  {
    id: 'multiply-rows',
    operation: 'multiplication',
    levels: products,
    numbers: productLimit,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} lays out ${a} rows of ${b} ${w.things}. How many ${w.things} does ${w.name} lay out?`,
    steps: multiply,
  },
  {
    id: 'multiply-days',
    operation: 'multiplication',
    levels: products,
    numbers: productLimit,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} makes ${a} ${w.things} every day. How many ${w.things} does ${w.name} make in ${b} days?`,
    steps: multiply,
  },
  {
    id: 'divide-share',
    operation: 'division',
    levels: quotients,
    numbers: quotientFirst,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} shares ${a} ${w.things} equally among ${b} friends. How many ${w.things} does each friend get?`,
    steps: divide,
  },
  {
    id: 'divide-pack',
    operation: 'division',
    levels: quotients,
    numbers: quotientFirst,
    uses: ['name', 'thing', 'container'],
    question: (w, [a, b]) =>
      `${w.name} packs ${a} ${w.things} into ${w.containers} of ${b}. How many ${w.containers} does ${w.name} fill?`,
    steps: divide,
  },
  {
    id: 'money-left',
    operation: 'money',
    levels: differences,
    numbers: differenceFirst,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} dollars and buys a ${w.thing} for ${b} ${dollars(b)}. How many dollars does ${w.name} have left?`,
    steps: subtract,
  },
  {
    id: 'money-cost',
    operation: 'money',
    levels: products,
    numbers: productLimit,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `One ${w.thing} costs ${b} dollars. ${w.name} buys ${a} ${w.things}. How many dollars does ${w.name} pay?`,
    steps: multiply,
  },
  {
    id: 'money-price',
    operation: 'money',
    levels: quotients,
    numbers: quotientFirst,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} pays ${a} dollars for ${b} ${w.things}. How many dollars does one ${w.thing} cost?`,
    steps: divide,
  },
  {
    id: 'money-save',
    operation: 'money',
    levels: oneStepSums,
    uses: ['name'],
    question: (w, [a, b]) =>
      `${w.name} had ${a} ${dollars(a)} and earned ${b} more. How many dollars does ${w.name} have?`,
    steps: add,
  },
  {
    id: 'time-sum',
    operation: 'time',
    levels: oneStepSums,
    uses: ['name'],
    question: (w, [a, b]) =>
      `${w.name} walks for ${a} ${minutes(a)} and then runs for ${b}. How many minutes is ${w.name} on the way?`,
    steps: add,
  },
  {
    id: 'time-left',
    operation: 'time',
    levels: differences,
    numbers: differenceFirst,
    uses: ['name'],
    question: (w, [a, b]) =>
      `A film lasts ${a} minutes. ${w.name} has seen ${b} ${minutes(b)} of it. How many minutes are left?`,
    steps: subtract,
  },
  {
    id: 'time-repeat',
    operation: 'time',
    levels: products,
    numbers: productLimit,
    uses: ['name', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} needs ${a} minutes to paint one ${w.thing}. How many minutes does ${w.name} need for ${b} ${w.things}?`,
    steps: multiply,
  },
];

/** "1 apple", "2 apples". */
export function plural(words: StoryWords, count: number): string {
  return count === 1 ? words.thing : words.things;
}

export function dollars(count: number): string {
  return count === 1 ? 'dollar' : 'dollars';
}

export function minutes(count: number): string {
  return count === 1 ? 'minute' : 'minutes';
}
