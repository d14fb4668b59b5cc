/** C4's and FineWeb's rules at their limits. */

import type { FilterExample } from './example.js';
import { block, line, times, word } from './words.js';

const three = block([line(1), line(2), line(3)]);
export const c4: FilterExample[] = [
  [
    'terminal punctuation',
    'the heading has none and goes, the sentences stay',
    `A heading without a full stop here\n${three}`,
    { text: three },
  ],
  [
    'terminal punctuation',
    'a line that ends in an ellipsis is no sentence',
    `${three}\nAnd then the page goes on with...`,
    { text: three },
  ],
  [
    'minimumWordsPerLine 5',
    'a line of 4 words goes, a line of 5 stays',
    `${three}\nOnly four words here.\nThis one has five words.`,
    { text: `${three}\nThis one has five words.` },
  ],
  ['minimumSentences 3', '3 sentences in one line', 'One is here. Two is here. Three is here.', 'keep'],
  ['minimumSentences 3', '2 sentences', 'One is here. Two is here and that was all.', 'too few sentences'],
  ['curly bracket', 'contains {', `${three}\nfunction () { return 1; }`, 'curly bracket'],
  ['lorem ipsum', 'contains it, in any case', `${three}\nLorem Ipsum dolor sit amet today.`, 'lorem ipsum'],
  ['JavaScript lines', 'the line goes', `${three}\nPlease turn on JavaScript in your browser now.`, { text: three }],
  ['policy lines', 'the line goes', `${three}\nThis site uses cookies for a better experience.`, { text: three }],
  [
    'citation marks',
    '[12] and [edit] go',
    'The first fact is known[12]. The second is new [edit] here. The third is old.',
    { text: 'The first fact is known. The second is new  here. The third is old.' },
  ],
  [
    'maximumWordCharacters 1,000',
    'a line with a word of 1,001 characters goes',
    `${three}\nThis line has one long ${'x'.repeat(1001)} word.`,
    { text: three },
  ],
  [
    'preserveMaths (ours)',
    'lines of TeX stay, and their brackets do not drop the page',
    `${three}\nLet $x_{1}$ be a root, $y$ and $z$ others.\n\\begin{equation}\nx^{2} + 1 = 0\n\\end{equation}`,
    { text: `${three}\nLet $x_{1}$ be a root, $y$ and $z$ others.\n\\begin{equation}\n\\end{equation}` },
  ],
].map(([rule, because, text, outcome]) => ({
  filter: 'c4',
  rule: rule as string,
  because: because as string,
  text: text as string,
  outcome: outcome,
}));

const long = (index: number) => `${times(8, (i) => word(index * 10 + i))}`;
export const fineweb: FilterExample[] = [
  [
    'minimumPunctuatedLines 0.12',
    '3 of 25 lines end in punctuation: 0.12 is dropped',
    block([...Array.from({ length: 22 }, (_, i) => long(i)), `${long(30)}.`, `${long(31)}.`, `${long(32)}!`]),
    'few punctuated lines',
  ],
  [
    'minimumPunctuatedLines 0.12',
    '3 of 24 lines: 0.125 is kept',
    block([...Array.from({ length: 21 }, (_, i) => long(i)), `${long(30)}.`, `${long(31)}.`, `${long(32)}?`]),
    'keep',
  ],
  [
    'maximumDuplicateLineCharacters 0.1',
    '1 of 10 equal lines comes again: 0.1 is dropped',
    block([...Array.from({ length: 9 }, (_, i) => `${long(i)}.`), `${long(0)}.`]),
    'duplicate line characters',
  ],
  [
    'maximumDuplicateLineCharacters 0.1',
    '1 of 11 equal lines: 0.09 is kept',
    block([...Array.from({ length: 10 }, (_, i) => `${long(i)}.`), `${long(0)}.`]),
    'keep',
  ],
  [
    'maximumShortLines 0.67',
    '67 of 100 lines have under 30 characters: dropped',
    block([
      ...Array.from({ length: 33 }, (_, i) => `${long(i)}.`),
      ...Array.from({ length: 67 }, (_, i) => `${word(i + 500)} ${word(i)}.`),
    ]),
    'mostly short lines',
  ],
  [
    'maximumShortLines 0.67',
    '66 of 100 lines: kept',
    block([
      ...Array.from({ length: 34 }, (_, i) => `${long(i)}.`),
      ...Array.from({ length: 66 }, (_, i) => `${word(i + 500)} ${word(i)}.`),
    ]),
    'keep',
  ],
].map(([rule, because, text, outcome]) => ({ filter: 'fineweb', rule, because, text, outcome }));
