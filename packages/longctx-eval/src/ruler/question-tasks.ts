/** RULER's question answering: the passages that hold the answer among others of the same data set. */

import { EvaluationError } from '../errors.js';
import type { SeededRandom } from '../random.js';
import type { TaskDraft } from './task-settings.js';
import type { RulerQuestion } from './types.js';

/** Every passage of a data set once, in a fixed order. */
export function passagePool(questions: readonly RulerQuestion[]): string[] {
  const pool = new Set<string>();
  for (const { supporting, distractors = [] } of questions)
    for (const passage of [...supporting, ...distractors]) pool.add(passage);
  return [...pool].sort();
}

export function questionTask(
  questions: readonly RulerQuestion[],
  pool: readonly string[],
  index: number,
  random: SeededRandom,
): TaskDraft {
  const { question, answers, supporting, distractors = [] } = questions[index % questions.length];
  const near = distractors.filter((passage) => !supporting.includes(passage));
  const own = new Set([...supporting, ...near]);
  const far = random.shuffle(pool.filter((passage) => !own.has(passage)));
  const others = [...random.shuffle([...near]), ...far];
  const ranks = Array.from({ length: supporting.length + others.length }, () => random.uniform());
  return {
    build: (size) => {
      const chosen = [...supporting, ...others].slice(0, size);
      const order = chosen.map((_, i) => i).sort((a, b) => ranks[a] - ranks[b]);
      const context = order.map((which, i) => `Document ${i + 1}:\n${chosen[which]}`).join('\n\n');
      const instruction = 'Answer the question from these documents. Reply with the answer alone, in a few words.';
      return {
        prompt: `${instruction}\n\n${context}\n\n${instruction}\n\nQuestion: ${question}`,
        references: answers,
      };
    },
    answerPrefix: ' Answer:',
    minimum: supporting.length,
    maximum: supporting.length + others.length,
  };
}

export function requireQuestions(
  questions: readonly RulerQuestion[] | undefined,
  source: 'squad' | 'hotpot',
): readonly RulerQuestion[] {
  if (questions && questions.length > 0) return questions;
  throw new EvaluationError('INVALID_OPTIONS', `The task qa_${source} needs questions, and none were given.`, {
    remedy: `Pass ${source}: await ${source === 'squad' ? 'loadSquad' : 'loadHotpot'}(file), or leave the task out.`,
  });
}
