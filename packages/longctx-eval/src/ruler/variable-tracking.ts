/** RULER's variable tracking: assignments `VAR B = VAR A` scattered in noise; all names that hold one value are asked for. */

import type { SeededRandom } from '../random.js';
import { noiseSentences, type TaskDraft } from './task-settings.js';

const capitals = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

interface Chain {
  names: string[];
  value: string;
  statements: string[];
}

export function variableTracking(settings: { chains: number; hops: number }, random: SeededRandom): TaskDraft {
  const chains = drawChains(random, settings.chains, settings.hops, 5);
  const [asked] = chains;
  // Places as shares of the context, so that a greater size only spreads them.
  const places = chains.flatMap(({ statements }) => {
    const shares = statements.map(() => random.uniform()).sort((a, b) => a - b);
    return statements.map((statement, i) => ({ statement, share: shares[i] }));
  });
  places.sort((a, b) => a.share - b.share);
  const example = workedExample(random, settings);
  return {
    build: (size) => {
      const lines = new Array<string>(size).fill(noiseSentences);
      places.forEach(({ statement, share }, i) => lines.splice(Math.round(share * size) + i, 0, statement));
      return { prompt: `${example}\n\n${question(lines.join('\n'), asked)}`, references: asked.names };
    },
    answerPrefix: answerStart(asked),
    minimum: 1,
    maximum: 1 << 22,
  };
}

function workedExample(random: SeededRandom, { chains, hops }: { chains: number; hops: number }): string {
  const example = drawChains(random, chains, hops, 3);
  const lines = example.flatMap(({ statements }) => statements).flatMap((statement) => [noiseSentences, statement]);
  return `${question(lines.join('\n'), example[0])}${answerStart(example[0])} ${example[0].names.join(' ')}`;
}

function question(context: string, { value }: Chain): string {
  return (
    `Variables are assigned in the text below, some of them from one another. Keep track of their values.\n\n${context}\n` +
    `Question: Which variables have the value ${value} at the end of the text above?`
  );
}

function answerStart({ names, value }: Chain): string {
  return ` Answer: Following the assignments in the text above, ${names.length} variables have the value ${value}:`;
}

function drawChains(random: SeededRandom, chains: number, hops: number, letters: number): Chain[] {
  const names = new Set<string>();
  while (names.size < chains * (hops + 1)) names.add(random.letters(letters, capitals));
  const all = [...names];
  return Array.from({ length: chains }, (_, c) => {
    const own = all.slice(c * (hops + 1), (c + 1) * (hops + 1));
    const value = random.digits(5);
    const statements = own.map((name, i) => (i === 0 ? `VAR ${name} = ${value}.` : `VAR ${name} = VAR ${own[i - 1]}.`));
    return { names: own, value, statements };
  });
}
