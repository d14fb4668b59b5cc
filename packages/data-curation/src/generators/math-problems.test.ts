import { describe, expect, it } from 'vitest';
import { extractFinalAnswer } from './final-answer.js';
import { generateMathDocuments } from './math-documents.js';
import { generateMathProblems, mathTemplates, templateSize } from './math-problems.js';
import { containerNames, personNames, thingNames } from './math-words.js';
import type { MathDifficulty, MathProblem } from './math-types.js';

/** Recomputes the reasoning from its text alone: every line has to be true, and the last has to be the answer. */
function checkReasoning({ reasoning, answer }: MathProblem): void {
  const lines = reasoning.split('\n');
  expect(lines.pop()).toBe(`#### ${answer}`);
  let last = NaN;
  for (const line of lines) {
    const match = /^(\d+) ([-+*/]) (\d+) = (\d+)$/.exec(line);
    expect(match, line).not.toBeNull();
    const [, left, operator, right, value] = match!;
    const results: Record<string, number> = {
      '+': Number(left) + Number(right),
      '-': Number(left) - Number(right),
      '*': Number(left) * Number(right),
      '/': Number(left) / Number(right),
    };
    expect(results[operator], line).toBe(Number(value));
    last = Number(value);
  }
  expect(last).toBe(answer);
}

function numbersIn(text: string): number[] {
  return (text.match(/\d+/g) ?? []).map(Number);
}

describe('generateMathProblems', () => {
  const problems = generateMathProblems({ seed: 11, count: 30_000, difficulty: [1, 2, 3] });

  it('reasons correctly towards whole answers of at least 0', () => {
    for (const problem of problems) checkReasoning(problem);
    expect(problems.every(({ answer }) => Number.isInteger(answer) && answer >= 0)).toBe(true);
  });

  it('gives different problems, evenly over the levels', () => {
    expect(new Set(problems.map(({ question }) => question)).size).toBe(problems.length);
    expect(new Set(problems.map(({ id }) => id)).size).toBe(problems.length);
    for (const level of [1, 2, 3]) {
      const share = problems.filter(({ difficulty }) => difficulty === level).length / problems.length;
      expect(share).toBeGreaterThan(0.2);
    }
    expect(new Set(problems.map(({ operation }) => operation)).size).toBe(7);
  });

  it('keeps to the limits of each level', () => {
    for (const { question, reasoning, difficulty } of problems) {
      const operands = numbersIn(question);
      const steps = reasoning.split('\n').length - 1;
      if (difficulty === 1) {
        expect(steps).toBe(1);
        expect(Math.max(...operands)).toBeLessThanOrEqual(20);
      } else if (difficulty === 2) {
        expect(steps).toBeLessThanOrEqual(2);
        expect(Math.max(...operands)).toBeLessThanOrEqual(150);
      } else {
        expect(steps).toBeGreaterThanOrEqual(2);
        expect(Math.max(...numbersIn(reasoning))).toBeLessThanOrEqual(1000);
      }
    }
  });

  it('holds hundreds of thousands of problems at each level', () => {
    for (const difficulty of [1, 2, 3] as MathDifficulty[]) {
      const sizes = mathTemplates.map((template) =>
        template.levels[difficulty] ? templateSize(template, difficulty) : 0,
      );
      expect(sizes.reduce((sum, size) => sum + size)).toBeGreaterThan(1_000_000);
      // The permutation works up to 2^48.
      expect(Math.max(...sizes)).toBeLessThan(2 ** 48);
    }
  });

  it('is a function of the seed', () => {
    const again = generateMathProblems({ seed: 11, count: 500, difficulty: [1, 2, 3] });
    expect(again).toEqual(problems.slice(0, 500));
    expect(generateMathProblems({ seed: 12, count: 500 })).not.toEqual(generateMathProblems({ seed: 11, count: 500 }));
  });

  it('splits so that no held-out story with its numbers is in training, whatever the seed', () => {
    const train = new Set(generateMathProblems({ seed: 1, count: 50_000, difficulty: [1, 2] }).map(maskedStory));
    const heldout = generateMathProblems({ seed: 2, count: 3000, difficulty: [1, 2], split: 'heldout' });
    expect(heldout.filter((problem) => train.has(maskedStory(problem)))).toEqual([]);
    // The test can fail: problems of the same side do share stories.
    const more = generateMathProblems({ seed: 3, count: 3000, difficulty: [1, 2] });
    expect(more.filter((problem) => train.has(maskedStory(problem))).length).toBeGreaterThan(100);
  });

  it('gives only the operations asked for', () => {
    const chosen = generateMathProblems({ seed: 1, count: 200, operations: ['division', 'money'] });
    expect(new Set(chosen.map(({ operation }) => operation))).toEqual(new Set(['division', 'money']));
  });

  it.each([
    [{ seed: 1, count: -1 }, 'count'],
    [{ seed: 0.5, count: 1 }, 'seed'],
    [{ seed: 1, count: 1, heldoutFraction: 0.7 }, 'heldoutFraction'],
    [{ seed: 1, count: 1, operations: [] }, 'No template'],
  ])('refuses %o', (options, named) => {
    expect(() => generateMathProblems(options)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining(named) as string }) as Error,
    );
  });
});

const dressing = [...personNames, ...[...thingNames, ...containerNames].flat()];
const dressed = new RegExp(`\\b(?:${dressing.join('|')})\\b`, 'g');

/** The question with names, things and containers masked: what has to be new in a held-out problem. */
function maskedStory({ question }: MathProblem): string {
  return question.replace(dressed, '_');
}

describe('generateMathDocuments', () => {
  it('shares no problem between documents and holds checkable answers', () => {
    const documents = generateMathDocuments({ seed: 5, count: 500, difficulty: [1, 2] });
    expect(documents).toHaveLength(500);
    const questions = documents.flatMap(({ text }) => text.match(/[^.?\n:]*\?/g) ?? []);
    expect(questions.length).toBeGreaterThan(500 * 4);
    expect(new Set(documents.map(({ id }) => id)).size).toBe(500);
    const worked = documents.flatMap(({ text }) => text.match(/#### \d+/g) ?? []);
    expect(worked.length).toBeGreaterThan(1000);
  });
});

describe('extractFinalAnswer', () => {
  it.each([
    ['3 + 4 = 7\n#### 7', 7],
    ['#### 1,234', 1234],
    ['####  -5', -5],
    ['#### $18', 18],
    ['#### -$18.50', -18.5],
    ['#### 7\n\nQuestion: another\n#### 9', 7],
    ['#### 3 apples', 3],
    ['the answer is 7', undefined],
    ['#### seven', undefined],
    ['', undefined],
  ])('reads %j', (text, expected) => {
    expect(extractFinalAnswer(text)).toBe(expected);
  });
});
