/** Questions about long documents (LooGLE, StreamingQA and the like), scored by exact match, token F1 and ROUGE-L. */

import { z } from 'zod';
import { fitTokens } from '../context/fit-tokens.js';
import type { Prompt } from '../model/types.js';
import { tokenCounter } from '../model/token-counter.js';
import { sha256 } from '../random.js';
import { runSamples, writeResults } from '../runs/run-samples.js';
import type { SampleRecord } from '../runs/types.js';
import { estimate } from '../statistics/estimate.js';
import { check, checkDistinct, functionOption, modelOption, runOptionFields, tokenLimitOption } from '../validate.js';
import { exactMatch, rougeL, tokenF1 } from './scores.js';
import type {
  DocumentQuestion,
  QuestionAnsweringOptions,
  QuestionAnsweringResult,
  QuestionAnsweringScores,
} from './types.js';

const optionsSchema = z.strictObject({
  ...runOptionFields,
  model: modelOption,
  questions: z
    .array(
      z.object({
        id: z.string().min(1),
        group: z.string(),
        document: z.string(),
        question: z.string().min(1),
        answers: z.array(z.string()).min(1),
      }),
    )
    .min(1),
  prompt: functionOption,
  maximumPromptTokens: tokenLimitOption,
  countTokens: functionOption,
  maximumNewTokens: tokenLimitOption,
  stop: z.array(z.string().min(1)).optional(),
  metric: z.enum(['exact', 'f1', 'rougeL']).optional(),
});

const defaultPrompt = ({ document, question }: DocumentQuestion): Prompt =>
  `${document}\n\nAnswer the question from the text above, in as few words as it takes.\nQuestion: ${question}\nAnswer:`;

const metrics = { exact: exactMatch, f1: tokenF1, rougeL };

export async function questionAnswering(options: QuestionAnsweringOptions): Promise<QuestionAnsweringResult> {
  check(optionsSchema, options, 'questionAnswering');
  const { model, questions, prompt = defaultPrompt, maximumPromptTokens, metric = 'f1', stop } = options;
  const { maximumNewTokens = 64, task = 'question-answering' } = options;
  checkDistinct(questions.map(({ id }) => id));
  const countTokens =
    maximumPromptTokens === undefined ? undefined : tokenCounter(options.countTokens, model, 'questionAnswering');
  const settings = {
    questions: questions.length,
    questionsSha256: sha256(JSON.stringify(questions)),
    // The template's wording shows in the prompt of a question without a document.
    promptSha256: sha256(JSON.stringify(prompt({ ...questions[0], document: '' }))),
    maximumPromptTokens: maximumPromptTokens ?? null,
    maximumNewTokens,
    stop: stop ?? [],
    metric,
  };
  const records = await runSamples(
    {
      task,
      model,
      settings,
      seed: 0,
      samples: questions.map((question) => ({
        id: question.id,
        group: question.group,
        build: () => ({
          ...shortened(question, prompt, maximumPromptTokens, countTokens),
          references: [...question.answers],
        }),
      })),
      generation: { maximumNewTokens, temperature: 0, stop },
      score: ({ text }, { references }) => ({ score: metrics[metric](text.trim(), references) }),
    },
    options,
  );
  const groups = [...new Set(questions.map(({ group }) => group))].sort();
  const result: QuestionAnsweringResult = {
    task,
    model: model.name,
    settings,
    overall: scores(records),
    groups: groups.map((group) => ({ group, ...scores(records.filter((record) => record.group === group)) })),
    truncated: records.filter((record) => record.metadata?.truncated === true).length,
    records,
  };
  return writeResults(result, options);
}

function scores(records: readonly SampleRecord[]): QuestionAnsweringScores {
  const of = (metric: keyof typeof metrics) =>
    estimate(records.map(({ completions, references }) => metrics[metric](completions[0].trim(), references)));
  return { exact: of('exact'), f1: of('f1'), rougeL: of('rougeL') };
}

/** A document that does not fit loses its middle: what a text is about tends to stand at its ends. */
function shortened(
  question: DocumentQuestion,
  prompt: (question: DocumentQuestion) => Prompt,
  maximum: number | undefined,
  countTokens: ((prompt: Prompt) => number) | undefined,
): { prompt: Prompt; promptTokens?: number; metadata?: { truncated: boolean } } {
  const whole = prompt(question);
  if (maximum === undefined || countTokens === undefined) return { prompt: whole };
  const promptTokens = countTokens(whole);
  if (promptTokens <= maximum) return { prompt: whole, promptTokens, metadata: { truncated: false } };
  const characters = Array.from(question.document);
  const cut = (size: number): Prompt => {
    const head = characters.slice(0, Math.ceil(size / 2)).join('');
    const tail = characters.slice(characters.length - Math.floor(size / 2)).join('');
    return prompt({ ...question, document: `${head}\n[…]\n${tail}` });
  };
  const fit = fitTokens({
    count: (size) => countTokens(cut(size)),
    target: maximum,
    maximum: characters.length,
    what: `Question ${question.id}`,
  });
  return { prompt: cut(fit.size), promptTokens: fit.tokens, metadata: { truncated: true } };
}
