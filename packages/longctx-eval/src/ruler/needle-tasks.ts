/** RULER's eight needle tasks: numbers or UUIDs hidden under words or UUIDs in noise, essays or other needles. */

import { insertSentences } from '../context/filler.js';
import { adjectives, nouns } from '../context/words.js';
import type { SeededRandom } from '../random.js';
import { noiseSentences, type NeedleSettings, type TaskDraft } from './task-settings.js';

const depthSteps = 40;

export function needleTask(settings: NeedleSettings, random: SeededRandom, essayWords: readonly string[]): TaskDraft {
  const noun = settings.valueType === 'numbers' ? 'number' : 'code';
  const sentence = (key: string, value: string): string => `A secret ${noun} of ${key} is: ${value}.`;
  const keys = distinctKeys(random, settings, settings.keys);
  const values = keys.map(() => Array.from({ length: settings.valuesPerKey }, () => drawValue(random, settings)));
  const needles = random.shuffle(keys.flatMap((key, i) => values[i].map((value) => sentence(key, value))));
  const asked = random.distinct(settings.queries, settings.keys);
  const references = asked.flatMap((i) => values[i]);
  const single = references.length === 1;
  const query = listed(asked.map((i) => keys[i]));
  const what = single ? `secret ${noun}` : `secret ${noun}s`;
  const depths = random
    .distinct(needles.length, depthSteps)
    .map((step) => step / (depthSteps - 1))
    .sort((a, b) => a - b);
  // Distractor needles, drawn as they are needed, the same whatever the size.
  const distractors: string[] = [];
  const distractor = (index: number): string => {
    while (distractors.length <= index) {
      distractors.push(sentence(drawKey(random, settings), drawValue(random, settings)));
    }
    return distractors[index];
  };
  const context = (size: number): string => {
    if (settings.haystack === 'essay') return essayContext(essayWords, size, needles, depths);
    const lines = Array.from({ length: size }, (_, i) =>
      settings.haystack === 'noise' ? noiseSentences : distractor(i),
    );
    depths.forEach((depth, i) => lines.splice(Math.round(depth * size) + i, 0, needles[i]));
    return lines.join('\n');
  };
  return {
    build: (size) => ({
      prompt:
        `The text below hides ${single ? `a secret ${noun}` : `several secret ${noun}s`}. ` +
        `Read it with care: you will be asked for ${single ? 'it' : 'them'} at the end.\n` +
        `${context(size)}\nWhich ${what} of ${query} ${single ? 'does' : 'do'} the text above give?`,
      references,
    }),
    answerPrefix: ` The ${what} of ${query} in the text above ${single ? 'is' : 'are'}`,
    minimum: 1,
    maximum: settings.haystack === 'essay' ? Number.MAX_SAFE_INTEGER : 1 << 22,
  };
}

/** The first `size` words of the essays, over and over if need be, with the needles between sentences at their depths. */
function essayContext(
  words: readonly string[],
  size: number,
  needles: readonly string[],
  depths: readonly number[],
): string {
  const taken = Array.from({ length: size }, (_, i) => words[i % words.length]);
  const text = taken.join(' ');
  const starts = [0];
  for (const match of text.matchAll(/[.!?]["')\]]*\s+/g)) starts.push(match.index + match[0].length);
  return insertSentences(
    text,
    needles.map((sentence, i) => ({ offset: starts[Math.round(depths[i] * (starts.length - 1))], sentence })),
  );
}

function drawKey(random: SeededRandom, { keyType }: NeedleSettings): string {
  return keyType === 'uuids' ? random.uuid() : `${random.pick(adjectives)}-${random.pick(nouns)}`;
}

function drawValue(random: SeededRandom, { valueType }: NeedleSettings): string {
  return valueType === 'uuids' ? random.uuid() : random.digits(7);
}

function distinctKeys(random: SeededRandom, settings: NeedleSettings, count: number): string[] {
  const keys = new Set<string>();
  while (keys.size < count) keys.add(drawKey(random, settings));
  return [...keys];
}

export function listed(items: readonly string[]): string {
  return items.length < 2 ? (items[0] ?? '') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}
