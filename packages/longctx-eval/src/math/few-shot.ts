/** The usual text form of worked maths problems, and GSM8K's file. */

import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import { readJsonl } from '../runs/read-jsonl.js';
import { extractNumericAnswer } from './numeric-answer.js';
import type { MathProblem } from './types.js';

/**
 * `Question: …\nAnswer: … #### n`, one example after the other and then the problem. Stop at `\n\nQuestion:`. Without examples,
 * the problem alone in the same form.
 */
export function fewShotMathPrompt(examples: readonly MathProblem[]): (problem: MathProblem) => string {
  const shots = examples
    .map((example) => `Question: ${example.question}\nAnswer: ${workedSolution(example)}\n\n`)
    .join('');
  return ({ question }) => `${shots}Question: ${question}\nAnswer:`;
}

function workedSolution({ id, reasoning, answer }: MathProblem): string {
  if (reasoning === undefined) {
    throw new EvaluationError('INVALID_OPTIONS', `The example ${id} has no reasoning to show.`, {
      value: id,
      remedy: 'Use problems with a worked solution as examples.',
    });
  }
  return reasoning.includes('####') ? reasoning.trim() : `${reasoning.trim()}\n#### ${answer}`;
}

const rowSchema = z.object({ question: z.string().min(1), answer: z.string() });

/** GSM8K (arXiv 2110.14168) as published: JSONL, each answer ending in `#### n`. Calculator marks `<<…>>` are taken out. */
export async function loadGsm8k(file: string): Promise<MathProblem[]> {
  const rows = await readJsonl(file, rowSchema);
  return rows.map(({ question, answer }, index) => {
    const final = extractNumericAnswer(answer, 'marked');
    if (final === undefined || !answer.includes('####')) {
      throw new EvaluationError('INVALID_DATA', `Row ${index + 1} of ${file} does not end in "#### n".`, {
        value: answer.slice(-80),
      });
    }
    return { id: `gsm8k/${index}`, question, reasoning: answer.replace(/<<[^<>]*>>/g, ''), answer: final };
  });
}
