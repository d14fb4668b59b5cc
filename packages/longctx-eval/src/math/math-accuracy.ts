/** Share of problems whose numeric answer a model gets right: greedy, or several samples with pass@k and the majority's vote. */

import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import type { Prompt } from '../model/types.js';
import { sha256 } from '../random.js';
import { promptText, runSamples, writeResults } from '../runs/run-samples.js';
import { estimate } from '../statistics/estimate.js';
import { passAtK, passAtSteps } from '../statistics/pass-at-k.js';
import {
  check,
  checkDistinct,
  functionOption,
  modelOption,
  runOptionFields,
  seedOption,
  tokenLimitOption,
} from '../validate.js';
import { extractNumericAnswer, sameNumber } from './numeric-answer.js';
import type { MathAccuracyOptions, MathAccuracyResult, MathProblem } from './types.js';

const optionsSchema = z.strictObject({
  ...runOptionFields,
  model: modelOption,
  problems: z
    .array(
      z.object({
        id: z.string().min(1),
        question: z.string().min(1),
        reasoning: z.string().optional(),
        answer: z.union([z.string(), z.number()]),
      }),
    )
    .min(1),
  prompt: functionOption,
  samplesPerProblem: z.int().positive().optional(),
  temperature: z.number().min(0).optional(),
  topP: z.number().gt(0).max(1).optional(),
  maximumNewTokens: tokenLimitOption,
  stop: z.array(z.string().min(1)).optional(),
  seed: seedOption,
  extraction: z.enum(['marked', 'any']).optional(),
});

const defaultPrompt = ({ question }: MathProblem): Prompt => [{ role: 'user', content: question }];

export async function mathAccuracy(options: MathAccuracyOptions): Promise<MathAccuracyResult> {
  check(optionsSchema, options, 'mathAccuracy');
  const { model, problems, topP, stop, seed = 0, extraction = 'any', task = 'math' } = options;
  const { samplesPerProblem = 1, maximumNewTokens = 256, prompt = defaultPrompt } = options;
  const temperature = options.temperature ?? (samplesPerProblem === 1 ? 0 : 0.7);
  const answers = problems.map(referenceAnswer);
  checkDistinct(problems.map(({ id }) => id));
  const settings = {
    problems: problems.length,
    // The prompts hold the questions, the template and the examples.
    promptsSha256: sha256(JSON.stringify(problems.map((problem) => promptText(prompt(problem))))),
    answersSha256: sha256(JSON.stringify(answers)),
    samplesPerProblem,
    temperature,
    topP: topP ?? 1,
    maximumNewTokens,
    stop: stop ?? [],
    seed,
    extraction,
  };
  const records = await runSamples(
    {
      task,
      model,
      settings,
      seed,
      samples: problems.map((problem, index) => ({
        id: problem.id,
        group: 'all',
        build: () => ({ prompt: prompt(problem), references: [answers[index]] }),
      })),
      completionsPerSample: samplesPerProblem,
      generation: { maximumNewTokens, temperature, topP, stop },
      score: ({ text }, { references }) => {
        const answer = extractNumericAnswer(text, extraction);
        const right = answer !== undefined && sameNumber(answer, references[0]);
        return { score: right ? 1 : 0, detail: { answer: answer ?? null } };
      },
    },
    options,
  );
  const extracted = records.map((record) =>
    record.completions.map((completion) => extractNumericAnswer(completion, extraction)),
  );
  const result: MathAccuracyResult = {
    task,
    model: model.name,
    settings,
    accuracy: estimate(records.map((record) => record.score)),
    passAt: passAtSteps(samplesPerProblem).map((k) => ({
      k,
      value: mean(records.map(({ scores }) => passAtK(scores.length, count(scores), k))),
    })),
    ...(samplesPerProblem > 1
      ? {
          majority: estimate(records.map((record, i) => (majorityIsRight(extracted[i], record.references[0]) ? 1 : 0))),
        }
      : {}),
    answered: mean(extracted.flat().map((answer) => (answer === undefined ? 0 : 1))),
    records,
  };
  return writeResults(result, options);
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const count = (scores: readonly number[]): number => scores.filter((score) => score === 1).length;

function referenceAnswer({ id, answer }: MathProblem): string {
  const canonical = extractNumericAnswer(String(answer));
  if (canonical !== undefined) return canonical;
  throw new EvaluationError('INVALID_DATA', `The answer of problem ${id} is no number: ${JSON.stringify(answer)}.`, {
    value: answer,
    remedy: 'Only numeric answers can be checked exactly.',
  });
}

/** The answer given most often; of equals, the one given first. */
function majorityIsRight(answers: readonly (string | undefined)[], reference: string): boolean {
  const votes = new Map<string, number>();
  for (const answer of answers) if (answer !== undefined) votes.set(answer, (votes.get(answer) ?? 0) + 1);
  const [winner] = [...votes].sort(([, a], [, b]) => b - a);
  return winner !== undefined && sameNumber(winner[0], reference);
}
