/** Reads SQuAD 1.1/2.0 and HotpotQA (distractor setting) in their published JSON. */

import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import { readJson } from '../runs/read-jsonl.js';
import type { RulerQuestion } from './types.js';

const squadSchema = z.object({
  data: z.array(
    z.object({
      paragraphs: z.array(
        z.object({
          context: z.string(),
          qas: z.array(
            z.object({
              question: z.string(),
              is_impossible: z.boolean().optional(),
              answers: z.array(z.object({ text: z.string() })),
            }),
          ),
        }),
      ),
    }),
  ),
});

const hotpotSchema = z.array(
  z.object({
    question: z.string(),
    answer: z.string(),
    context: z.array(z.tuple([z.string(), z.array(z.string())])),
    supporting_facts: z.array(z.tuple([z.string(), z.number()])).optional(),
  }),
);

/** Unanswerable questions are left out; the article's other paragraphs are the near distractors. */
export async function loadSquad(file: string): Promise<RulerQuestion[]> {
  const { data } = await readJson(file, squadSchema);
  const questions = data.flatMap(({ paragraphs }) =>
    paragraphs.flatMap(({ context, qas }) =>
      qas
        .filter(({ is_impossible: impossible, answers }) => impossible !== true && answers.length > 0)
        .map(({ question, answers }) => ({
          question,
          answers: [...new Set(answers.map(({ text }) => text))],
          supporting: [context],
          distractors: paragraphs.map((paragraph) => paragraph.context).filter((other) => other !== context),
        })),
    ),
  );
  return nonEmpty(file, questions);
}

/** All paragraphs of a question count as supporting, as in RULER: the sample always holds them. */
export async function loadHotpot(file: string): Promise<RulerQuestion[]> {
  const rows = await readJson(file, hotpotSchema);
  return nonEmpty(
    file,
    rows.map(({ question, answer, context }) => ({
      question,
      answers: [answer],
      supporting: context.map(([title, sentences]) => `${title}\n${sentences.join('')}`),
    })),
  );
}

function nonEmpty(file: string, questions: RulerQuestion[]): RulerQuestion[] {
  if (questions.length > 0) return questions;
  throw new EvaluationError('INVALID_DATA', `${file} holds no question with an answer.`, { value: file });
}
