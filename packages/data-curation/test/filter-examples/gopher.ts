/** Gopher's rules at their limits. */

import type { FilterExample } from './example.js';
import { block, line, prose, times, word } from './words.js';

export const gopherQuality: FilterExample[] = [
  ['minimumWords 50', '50 words', prose(50), 'keep'],
  ['minimumWords 50', '49 words', prose(49), 'too few words'],
  ['maximumWords 100,000', '100,000 words', prose(100_000), 'keep'],
  ['maximumWords 100,000', '100,001 words', prose(100_001), 'too many words'],
  // 2 stop words of 5 letters together, 58 words of 3 → (5 + 58 x 3) / 60 = 2.98.
  [
    'minimumMeanWordLength 3',
    '(3 + 2 + 58 × 3) / 60 = 2.98',
    `the of ${times(58, (i) => word(i, 3))}`,
    'words too short',
  ],
  ['minimumMeanWordLength 3', '(3 + 2 + 57 × 3 + 4) / 60 = 3', `the of ${times(57, (i) => word(i, 3))} four`, 'keep'],
  [
    'maximumMeanWordLength 10',
    '(5 + 55 × 10 + 3 × 15) / 60 = 10',
    `the of ${times(55, (i) => word(i, 10))} ${times(3, (i) => word(i, 15))}`,
    'keep',
  ],
  [
    'maximumMeanWordLength 10',
    '(5 + 55 × 10 + 3 × 16) / 60 = 10.05',
    `the of ${times(55, (i) => word(i, 10))} ${times(3, (i) => word(i, 16))}`,
    'words too long',
  ],
  [
    'maximumSymbolsPerWord 0.1',
    '6 hash signs / 60 words = 0.1',
    `${prose(54)} ${times(6, (i) => `#${word(i)}`)}`,
    'keep',
  ],
  [
    'maximumSymbolsPerWord 0.1',
    '7 hash signs / 60 words = 0.117',
    `${prose(53)} ${times(7, (i) => `#${word(i)}`)}`,
    'too many hashes',
  ],
  [
    'maximumSymbolsPerWord 0.1',
    '6 ellipses / 60 words = 0.1',
    `${prose(53)} ${times(6, (i) => `${word(i)}...`)} end`,
    'keep',
  ],
  [
    'maximumSymbolsPerWord 0.1',
    '7 ellipses / 60 words = 0.117',
    `${prose(53)} ${times(7, (i) => `${word(i)}…`)} end`,
    'too many ellipses',
  ],
  [
    'maximumBulletLines 0.9',
    '9 of 10 lines begin with a bullet',
    block([prose(50), ...Array.from({ length: 9 }, (_, i) => `• point ${word(i)}`)]),
    'keep',
  ],
  [
    'maximumBulletLines 0.9',
    '11 of 12 lines begin with a bullet',
    block([prose(50), ...Array.from({ length: 11 }, (_, i) => `• point ${word(i)}`)]),
    'mostly bullets',
  ],
  [
    'maximumEllipsisLines 0.3',
    '3 of 10 lines end in an ellipsis',
    block([prose(50), ...times(6, line, '\n').split('\n'), 'wait…', 'more...', 'so…']),
    'keep',
  ],
  [
    'maximumEllipsisLines 0.3',
    '4 of 10 lines end in an ellipsis',
    block([prose(50), ...times(5, line, '\n').split('\n'), 'wait…', 'more...', 'so…', 'on…']),
    'lines end in ellipses',
  ],
  [
    'minimumAlphabeticWords 0.8',
    '48 of 60 words hold a letter',
    `${prose(48)} ${times(12, (i) => String(1000 + i))}`,
    'keep',
  ],
  [
    'minimumAlphabeticWords 0.8',
    '47 of 60 words hold a letter',
    `${prose(47)} ${times(13, (i) => String(1000 + i))}`,
    'too few alphabetic words',
  ],
  ['minimumStopWords 2', '“the” and “of”', prose(60), 'keep'],
  [
    'minimumStopWords 2',
    '“the” three times is one of the eight words',
    `the the the ${times(57, (i) => word(i))}`,
    'no stop words',
  ],
].map(([rule, because, text, outcome]) => ({ filter: 'gopherQuality', rule, because, text, outcome }));

/** 100 distinct characters a line, `count` lines, of which the first `copies` come again at the end. */
const repeatedLines = (count: number, copies: number, length: number) => {
  const lines = Array.from({ length: count - copies }, (_, index) =>
    times(Math.floor(length / 6), (i) => word(index * 40 + i)),
  );
  return block([...lines, ...lines.slice(0, copies)]);
};
/** Long distinct paragraphs and short ones that repeat: the count of repeats shows, their characters do not. */
const shortRepeats = (distinct: number, copies: number, separator: string) =>
  [
    ...Array.from({ length: distinct }, (_, index) => times(30, (i) => word(index * 40 + i))),
    ...Array.from({ length: copies + 1 }, () => 'menu'),
  ].join(separator);
/** `total` words of which `n` in a row occur `count` times, the rest once. */
const withNgram = (n: number, count: number, total: number) => {
  const gram = times(n, (index) => word(90_000 + index));
  const gaps = Math.floor((total - n * count) / count);
  return times(count, (turn) => `${gram} ${times(gaps, (index) => word(turn * gaps + index))}`);
};

const anyTop = { 2: 1, 3: 1, 4: 1 };
const anyDuplicate = { 5: 1, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1 };

export const gopherRepetition: FilterExample[] = [
  ['maximumDuplicateLines 0.3', '3 of 10 lines have occurred before', shortRepeats(6, 3, '\n'), 'keep'],
  ['maximumDuplicateLines 0.3', '4 of 10 lines have occurred before', shortRepeats(5, 4, '\n'), 'duplicate lines'],
  [
    'maximumDuplicateLineCharacters 0.2',
    '1 of 6 lines of equal length comes again: 15.7 %, n-grams allowed',
    repeatedLines(6, 1, 20),
    'keep',
    { maximumTopNgram: anyTop, maximumDuplicateNgrams: anyDuplicate },
  ],
  [
    'maximumDuplicateLineCharacters 0.2',
    '1 of 4 lines of equal length comes again: 24 %',
    repeatedLines(4, 1, 60),
    'duplicate line characters',
  ],
  [
    'maximumDuplicateParagraphs 0.3',
    '4 of 10 paragraphs have occurred before',
    shortRepeats(5, 4, '\n\n'),
    'duplicate paragraphs',
    { maximumDuplicateLines: 1 },
  ],
  [
    'maximumDuplicateParagraphCharacters 0.2',
    '1 of 4 paragraphs of equal length comes again',
    repeatedLines(4, 1, 60).replaceAll('\n', '\n\n'),
    'duplicate paragraph characters',
    { maximumDuplicateLineCharacters: 1 },
  ],
  // A word has 5 letters and a blank: an n-gram's letters are 5n of 6 characters a word.
  ['maximumTopNgram 2: 0.2', '20 × 10 letters / 839 characters = 23.8 %', withNgram(2, 20, 140), 'frequent 2-gram'],
  [
    'maximumTopNgram 2: 0.2',
    '20 × 10 letters / 1,199 characters = 16.7 %; no longer n-gram repeats',
    withNgram(2, 20, 200),
    'keep',
  ],
  ['maximumTopNgram 3: 0.18', '10 × 15 letters / 779 characters = 19.3 %', withNgram(3, 10, 130), 'frequent 3-gram'],
  ['maximumTopNgram 4: 0.16', '10 × 20 letters / 1,199 characters = 16.7 %', withNgram(4, 10, 200), 'frequent 4-gram'],
  [
    'maximumDuplicateNgrams 5: 0.15',
    '7 repeats × 25 letters / 959 characters = 18.2 %',
    withNgram(5, 8, 160),
    'duplicate 5-grams',
    { maximumTopNgram: { 2: 1, 3: 1, 4: 1 } },
  ],
  [
    'maximumDuplicateNgrams 5: 0.15',
    '7 repeats × 25 letters / 1,439 characters = 12.2 %; no longer n-gram repeats',
    withNgram(5, 8, 240),
    'keep',
    { maximumTopNgram: { 2: 1, 3: 1, 4: 1 } },
  ],
  ...([6, 7, 8, 9, 10] as const).map(
    (n) =>
      [
        `maximumDuplicateNgrams ${n}: ${{ 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1 }[n]}`,
        `3 repeats × ${5 * n} letters / ${4 * n * 4 * 6 - 1} characters = ${(((15 * n) / (4 * n * 4 * 6 - 1)) * 100).toFixed(1)} %, shorter n-grams allowed`,
        withNgram(n, 4, 4 * n * 4),
        `duplicate ${n}-grams`,
        {
          maximumTopNgram: { 2: 1, 3: 1, 4: 1 },
          maximumDuplicateNgrams: Object.fromEntries([5, 6, 7, 8, 9].filter((m) => m < n).map((m) => [m, 1])),
        },
      ] as const,
  ),
].map(([rule, because, text, outcome, options]) => ({
  filter: 'gopherRepetition',
  rule: rule as string,
  because: because as string,
  text: text as string,
  outcome: outcome as string,
  options: options as Record<string, unknown> | undefined,
}));
