/** Templates of two and three steps; see `math-templates.ts`. */

import type { MathTemplate } from './math-templates.js';
import { dollars, minutes, plural } from './math-templates.js';

const twoSums = {
  2: [
    [1, 20],
    [1, 20],
    [1, 20],
  ],
  3: [
    [5, 100],
    [5, 100],
    [5, 100],
  ],
} as const;
const productAndRest = {
  2: [
    [2, 9],
    [2, 9],
    [1, 20],
  ],
  3: [
    [3, 20],
    [3, 20],
    [5, 100],
  ],
} as const;

export const multiStepTemplates: readonly MathTemplate[] = [
  {
    id: 'find-then-give',
    operation: 'subtraction',
    levels: twoSums,
    numbers: (raw) => (raw[2] < raw[0] + raw[1] ? raw : undefined),
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b, c]) =>
      `${w.name} has ${a} ${plural(w, a)}, finds ${b} more and gives ${c} to ${w.other}. How many ${w.things} does ${w.name} have now?`,
    steps: ([a, b, c]) => [
      [a, '+', b],
      [a + b, '-', c],
    ],
  },
  {
    id: 'three-days',
    operation: 'addition',
    levels: twoSums,
    uses: ['name', 'thing'],
    question: (w, [a, b, c]) =>
      `${w.name} sold ${a} ${plural(w, a)} on Friday, ${b} on Saturday and ${c} on Sunday. How many ${w.things} did ${w.name} sell in total?`,
    steps: ([a, b, c]) => [
      [a, '+', b],
      [a + b, '+', c],
    ],
  },
  {
    id: 'more-then-together',
    operation: 'comparison',
    levels: {
      2: [
        [1, 20],
        [1, 20],
      ],
      3: [
        [5, 100],
        [5, 100],
      ],
    },
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${plural(w, a)}. ${w.other} has ${b} more than ${w.name}. How many ${w.things} do they have together?`,
    steps: ([a, b]) => [
      [a, '+', b],
      [a, '+', a + b],
    ],
  },
  {
    id: 'times-then-together',
    operation: 'comparison',
    levels: {
      2: [
        [2, 10],
        [2, 9],
      ],
      3: [
        [4, 40],
        [2, 12],
      ],
    },
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b]) =>
      `${w.name} has ${a} ${w.things}. ${w.other} has ${b} times as many. How many ${w.things} do they have together?`,
    steps: ([a, b]) => [
      [a, '*', b],
      [a, '+', a * b],
    ],
  },
  {
    id: 'containers-and-loose',
    operation: 'multiplication',
    levels: productAndRest,
    uses: ['name', 'thing', 'container'],
    question: (w, [a, b, c]) =>
      `${w.name} has ${a} ${w.containers} with ${b} ${w.things} in each, and ${c} loose ${plural(w, c)}. How many ${w.things} does ${w.name} have?`,
    steps: ([a, b, c]) => [
      [a, '*', b],
      [a * b, '+', c],
    ],
  },
  {
    id: 'containers-then-lose',
    operation: 'multiplication',
    levels: productAndRest,
    numbers: (raw) => (raw[2] < raw[0] * raw[1] ? raw : undefined),
    uses: ['name', 'thing', 'container'],
    question: (w, [a, b, c]) =>
      `${w.name} buys ${a} ${w.containers} of ${b} ${w.things} and loses ${c}. How many ${w.things} are left?`,
    steps: ([a, b, c]) => [
      [a, '*', b],
      [a * b, '-', c],
    ],
  },
  {
    id: 'collect-then-share',
    operation: 'division',
    levels: {
      2: [
        [1, 20],
        [2, 9],
        [2, 6],
      ],
      3: [
        [5, 100],
        [3, 40],
        [3, 12],
      ],
    },
    // [first, share, friends] → [first, second, friends], so that first + second = share x friends.
    numbers: ([first, share, friends]) =>
      share * friends > first ? [first, share * friends - first, friends] : undefined,
    uses: ['name', 'thing'],
    question: (w, [a, b, c]) =>
      `${w.name} picks ${a} ${plural(w, a)} in the morning and ${b} in the afternoon, then shares them equally among ${c} friends. How many ${w.things} does each friend get?`,
    steps: ([a, b, c]) => [
      [a, '+', b],
      [a + b, '/', c],
    ],
  },
  {
    id: 'give-then-pack',
    operation: 'division',
    levels: {
      2: [
        [1, 12],
        [2, 9],
        [2, 6],
      ],
      3: [
        [5, 60],
        [3, 30],
        [3, 12],
      ],
    },
    // [given, full containers, in each] → [all, given, in each].
    numbers: ([given, full, each]) => [full * each + given, given, each],
    uses: ['name', 'other', 'thing', 'container'],
    question: (w, [a, b, c]) =>
      `${w.name} has ${a} ${w.things}, gives ${b} to ${w.other} and packs the rest into ${w.containers} of ${c}. How many ${w.containers} does ${w.name} fill?`,
    steps: ([a, b, c]) => [
      [a, '-', b],
      [a - b, '/', c],
    ],
  },
  {
    id: 'buy-change',
    operation: 'money',
    levels: {
      2: [
        [2, 9],
        [2, 9],
        [1, 20],
      ],
      3: [
        [3, 20],
        [3, 30],
        [5, 100],
      ],
    },
    // The third raw number is the change.
    numbers: ([count, price, change]) => [count, price, count * price + change],
    uses: ['name', 'thing'],
    question: (w, [a, b, c]) =>
      `${w.name} has ${c} dollars and buys ${a} ${w.things} at ${b} dollars each. How many dollars does ${w.name} have left?`,
    steps: ([a, b, c]) => [
      [a, '*', b],
      [c, '-', a * b],
    ],
  },
  {
    id: 'wages',
    operation: 'money',
    levels: {
      2: [
        [2, 9],
        [2, 9],
        [1, 20],
      ],
      3: [
        [8, 30],
        [2, 12],
        [5, 90],
      ],
    },
    uses: ['name'],
    question: (w, [a, b, c]) =>
      `${w.name} earns ${a} dollars an hour and works for ${b} hours. There were ${c} ${dollars(c)} in the purse before. How many dollars does ${w.name} have now?`,
    steps: ([a, b, c]) => [
      [a, '*', b],
      [a * b, '+', c],
    ],
  },
  {
    id: 'book-left',
    operation: 'time',
    levels: {
      2: [
        [2, 9],
        [2, 9],
        [1, 20],
      ],
      3: [
        [5, 40],
        [2, 14],
        [5, 150],
      ],
    },
    // The third raw number is what is left.
    numbers: ([pages, days, left]) => [pages, days, pages * days + left],
    uses: ['name'],
    question: (w, [a, b, c]) =>
      `A book has ${c} pages. ${w.name} reads ${a} pages a day for ${b} days. How many pages are left?`,
    steps: ([a, b, c]) => [
      [a, '*', b],
      [c, '-', a * b],
    ],
  },
  {
    id: 'practice-week',
    operation: 'time',
    levels: {
      2: [
        [1, 10],
        [1, 10],
        [2, 6],
      ],
      3: [
        [5, 45],
        [5, 45],
        [3, 10],
      ],
    },
    uses: ['name'],
    question: (w, [a, b, c]) =>
      `Every day ${w.name} plays the piano for ${a} ${minutes(a)} in the morning and ${b} in the evening. How many minutes is that in ${c} days?`,
    steps: ([a, b, c]) => [
      [a, '+', b],
      [a + b, '*', c],
    ],
  },
  {
    id: 'two-prices',
    operation: 'money',
    levels: {
      3: [
        [2, 12],
        [2, 20],
        [2, 12],
        [2, 20],
      ],
    },
    uses: ['name', 'thing'],
    question: (w, [a, b, c, d]) =>
      `${w.name} buys ${a} ${w.things} at ${b} dollars each and ${c} baskets at ${d} dollars each. How many dollars does ${w.name} pay?`,
    steps: ([a, b, c, d]) => [
      [a, '*', b],
      [c, '*', d],
      [a * b, '+', c * d],
    ],
  },
  {
    id: 'pack-sell-repack',
    operation: 'division',
    levels: {
      3: [
        [2, 12],
        [2, 20],
        [2, 20],
        [2, 10],
      ],
    },
    // [containers, in each, new boxes, in each box]: sold = all - boxes x each box.
    numbers: ([containers, each, boxes, perBox]) =>
      containers * each > boxes * perBox ? [containers, each, containers * each - boxes * perBox, perBox] : undefined,
    uses: ['name', 'thing', 'container'],
    question: (w, [a, b, c, d]) =>
      `${w.name} fills ${a} ${w.containers} with ${b} ${w.things} each and sells ${c} ${plural(w, c)}. The rest is packed in sets of ${d}. How many sets are there?`,
    steps: ([a, b, c, d]) => [
      [a, '*', b],
      [a * b, '-', c],
      [a * b - c, '/', d],
    ],
  },
  {
    id: 'friends-and-gift',
    operation: 'subtraction',
    levels: {
      3: [
        [2, 9],
        [2, 12],
        [5, 100],
        [2, 50],
      ],
    },
    // The third raw number is what is left before the gift.
    numbers: ([friends, each, left, gift]) => [friends * each + left, friends, each, gift],
    uses: ['name', 'other', 'thing'],
    question: (w, [a, b, c, d]) =>
      `${w.name} has ${a} ${w.things} and gives ${c} to each of ${b} friends. Then ${w.other} brings ${d} more. How many ${w.things} does ${w.name} have now?`,
    steps: ([a, b, c, d]) => [
      [b, '*', c],
      [a, '-', b * c],
      [a - b * c, '+', d],
    ],
  },
  {
    id: 'hours-and-minutes',
    operation: 'time',
    levels: {
      3: [
        [2, 9],
        [5, 55],
        [5, 60],
      ],
    },
    uses: ['name'],
    question: (w, [a, b, c]) =>
      `A trip takes ${a} hours and ${b} minutes, and a break of ${c} minutes comes on top. How many minutes is ${w.name} on the way?`,
    steps: ([a, b, c]) => [
      [a, '*', 60],
      [a * 60, '+', b],
      [a * 60 + b, '+', c],
    ],
  },
];
