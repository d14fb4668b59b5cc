/**
 * RULER's aggregation tasks. Common words: ten words occur 30 times each among words that occur 3 times (6 against 1 below
 * 4,096 tokens, where 30 would leave no room). Frequent words: coded words drawn after a zeta distribution, the most frequent
 * of them shown as dots; the next three are asked for.
 */

import { adjectives, nouns, singleWords } from '../context/words.js';
import { seededRandom, type SeededRandom } from '../random.js';
import type { TaskDraft } from './task-settings.js';

const commonWords = 10;
const codedLetters = 6;

export function commonWordsExtraction(
  length: number,
  random: SeededRandom,
  words: readonly string[] | undefined,
): TaskDraft {
  const short = length < 4096;
  const [often, seldom] = short ? [6, 1] : [30, 3];
  const single = random.shuffle([...(words ?? singleWords)]);
  const joined = new Set<string>();
  const drawn = [...single];
  const word = (index: number): string => {
    // Past the plain words, adjectives and nouns are joined: `amberanchor`.
    while (drawn.length <= index) {
      const candidate = `${random.pick(adjectives)}${random.pick(nouns)}`;
      if (joined.has(candidate)) continue;
      joined.add(candidate);
      drawn.push(candidate);
    }
    return drawn[index];
  };
  const exampleWords = short ? 20 : 40;
  const example = wordList(
    random,
    Array.from({ length: exampleWords }, (_, i) => word(i)),
    short ? 3 : 10,
    short ? 1 : 3,
  );
  const first = exampleWords;
  const shuffleSeed = random.bits();
  return {
    build: (size) => {
      const chosen = Array.from({ length: size }, (_, i) => word(first + i));
      const context = wordList(seededRandom(shuffleSeed, size), chosen, often, seldom);
      const prompt = `${question(example)}${answerStart} ${numbered(drawn.slice(0, commonWords))}\n\n${question(context)}`;
      return { prompt, references: chosen.slice(0, commonWords) };
    },
    answerPrefix: answerStart,
    minimum: commonWords + 1,
    // Past half of the joined words, drawing a new one gets slow.
    maximum: Math.floor((adjectives.length * nouns.length) / 2),
  };
}

const answerStart = ' Answer: The ten words that occur most often in the list are:';

function question(context: string): string {
  return (
    'Some words of the numbered list below occur more often than the others. Keep count of them.\n' +
    `${context}\nQuestion: Which ten words occur most often in the list above?`
  );
}

const numbered = (words: readonly string[]): string => words.map((word, i) => `${i + 1}. ${word}`).join(' ');

function wordList(random: SeededRandom, words: readonly string[], often: number, seldom: number): string {
  const list = words.flatMap((word, i) => new Array<string>(i < commonWords ? often : seldom).fill(word));
  return numbered(random.shuffle(list));
}

export function frequentWordsExtraction(length: number, alpha: number, random: SeededRandom): TaskDraft {
  const vocabularySize = Math.max(50, Math.floor(length / 50));
  const vocabulary = new Set<string>();
  while (vocabulary.size < vocabularySize) vocabulary.add(random.letters(codedLetters, 'abcdefghijklmnopqrstuvwxyz'));
  const words = [...vocabulary];
  const answers = words.slice(1, 4);
  words[0] = '...';
  const zeta = riemannZeta(alpha);
  const shuffleSeed = random.bits();
  return {
    build: (size) => {
      const list = words.flatMap((word, rank) =>
        new Array<string>(Math.floor((size * (rank + 1) ** -alpha) / zeta)).fill(word),
      );
      const context = seededRandom(shuffleSeed, size).shuffle(list).join(' ');
      return {
        prompt:
          `The text below is made of coded words. Count how often each occurs and find the three most frequent.\n${context}\n` +
          "Question: Leaving the dots '...' aside, which three coded words occur most often in the text above? " +
          'Give the words only.',
        references: answers,
      };
    },
    answerPrefix: ' Answer: The three coded words that occur most often in the text above are:',
    // Below this, the third and the fourth most frequent word would occur equally often.
    minimum: Math.ceil(zeta / (4 ** -alpha - 5 ** -alpha)) + 1,
    maximum: 1 << 22,
  };
}

/** Partial sum and the Euler–Maclaurin tail; ten digits for s ≥ 1.5. */
function riemannZeta(s: number): number {
  const terms = 1000;
  let sum = 0;
  for (let k = 1; k < terms; k++) sum += k ** -s;
  return sum + terms ** (1 - s) / (s - 1) + terms ** -s / 2;
}
