/**
 * HumanEval: the model continues a function, the program and its tests run in the sandbox, and pass@k is estimated without bias
 * (arXiv 2107.03374). A program has passed when its tests ran to their end, not merely when it exited with 0.
 */

import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { sha256 } from '../random.js';
import { promptText, runSamples, writeResults } from '../runs/run-samples.js';
import { readJsonl } from '../runs/read-jsonl.js';
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
import { createPythonSandbox } from './sandbox.js';
import type { CodeProblem, HumanEvalOptions, HumanEvalResult, PythonSandbox } from './types.js';

const optionsSchema = z.strictObject({
  ...runOptionFields,
  model: modelOption,
  problems: z
    .array(
      z.object({
        id: z.string().min(1),
        prompt: z.string().min(1),
        entryPoint: z.string().regex(/^[A-Za-z_]\w*$/, 'is no Python name'),
        test: z.string().min(1),
        canonicalSolution: z.string().optional(),
      }),
    )
    .min(1),
  samplesPerProblem: z.int().positive().optional(),
  temperature: z.number().min(0).optional(),
  topP: z.number().gt(0).max(1).optional(),
  maximumNewTokens: tokenLimitOption,
  seed: seedOption,
  prompt: functionOption,
  sandbox: z.unknown().optional(),
  concurrency: z.int().positive().optional(),
});

/** Where a new top-level statement begins, the function is over. Endpoints take four stop strings; the cut below has them all. */
const stop = ['\nclass ', '\ndef ', '\nif ', '\nprint('];
const functionEnd = /\n(?:class |def |if |print\(|#|@|import |from |```)/;

const rowSchema = z.object({
  task_id: z.string().min(1),
  prompt: z.string().min(1),
  entry_point: z.string().min(1),
  test: z.string().min(1),
  canonical_solution: z.string().optional(),
});

/** HumanEval's JSONL as published, gzipped or not. */
export async function loadHumanEval(file: string): Promise<CodeProblem[]> {
  const rows = await readJsonl(file, rowSchema);
  return rows.map((row) => ({
    id: row.task_id,
    prompt: row.prompt,
    entryPoint: row.entry_point,
    test: row.test,
    ...(row.canonical_solution === undefined ? {} : { canonicalSolution: row.canonical_solution }),
  }));
}

export async function humanEval(options: HumanEvalOptions): Promise<HumanEvalResult> {
  check(optionsSchema, options, 'humanEval');
  const { model, problems, topP, seed = 0, concurrency = 2, signal, task = 'human-eval' } = options;
  const { samplesPerProblem = 1, maximumNewTokens = 512 } = options;
  const temperature = options.temperature ?? (samplesPerProblem === 1 ? 0 : 0.8);
  const prompt = options.prompt ?? ((problem: CodeProblem) => problem.prompt);
  checkDistinct(problems.map(({ id }) => id));
  const sandbox = await createPythonSandbox(options.sandbox);
  const byId = new Map(problems.map((problem) => [problem.id, problem]));
  const gate = limiter(concurrency);
  const settings = {
    problemsSha256: sha256(JSON.stringify(problems)),
    promptsSha256: sha256(JSON.stringify(problems.map((problem) => promptText(prompt(problem))))),
    samplesPerProblem,
    temperature,
    topP: topP ?? 1,
    maximumNewTokens,
    seed,
    timeoutSeconds: options.sandbox?.timeoutSeconds ?? 10,
    memoryBytes: options.sandbox?.memoryBytes ?? 512 << 20,
  };
  const records = await runSamples(
    {
      task,
      model,
      settings,
      seed,
      samples: problems.map((problem) => ({
        id: problem.id,
        group: 'all',
        build: () => ({ prompt: prompt(problem), references: [], metadata: { id: problem.id } }),
      })),
      completionsPerSample: samplesPerProblem,
      generation: { maximumNewTokens, temperature, topP, stop: options.prompt ? [] : stop },
      score: async ({ text }, { metadata }) => {
        const problem = byId.get(String(metadata?.id));
        if (!problem) return { score: 0 };
        return gate(() => runTests(sandbox, problem, text, signal));
      },
    },
    options,
  );
  const result: HumanEvalResult = {
    task,
    model: model.name,
    settings,
    sandbox: sandbox.report,
    passAt: passAtSteps(samplesPerProblem).map((k) => ({
      k,
      estimate: estimate(
        records.map(({ scores }) => passAtK(scores.length, scores.filter((score) => score === 1).length, k)),
      ),
    })),
    records,
  };
  return writeResults(result, options);
}

async function runTests(
  sandbox: PythonSandbox,
  problem: CodeProblem,
  completion: string,
  signal: AbortSignal | undefined,
): Promise<{ score: number; detail: Record<string, unknown> }> {
  // Printed only after the last assertion, and not to be guessed by the program under test.
  const marker = randomBytes(16).toString('hex');
  const program = `${solution(problem, completion)}\n\n${problem.test}\n\ncheck(${problem.entryPoint})\nprint("\\n${marker}")\n`;
  const run = await sandbox.run(program, { signal });
  const passed = run.outcome === 'passed' && run.stdout.trimEnd().endsWith(marker);
  const error = run.stderr.trim().split('\n').at(-1) ?? '';
  return {
    score: passed ? 1 : 0,
    detail: { outcome: passed || run.outcome !== 'passed' ? run.outcome : 'exited early', ...(error ? { error } : {}) },
  };
}

/** A fenced block that defines the function stands alone; anything else continues the prompt, up to the function's end. */
function solution({ prompt, entryPoint }: CodeProblem, completion: string): string {
  const block = /```(?:python|py)?[^\n]*\n([\s\S]*?)(?:```|$)/.exec(completion)?.[1];
  const definition = String.raw`def\s+${entryPoint}\b`;
  // The prompt's imports and helpers stay; the function defined last is the one that is tested.
  const alone = (code: string): string => `${prompt}    pass\n\n${code}`;
  if (block !== undefined && new RegExp(`^${definition}`, 'm').test(block)) return alone(block);
  if (new RegExp(String.raw`^\s*(?:(?:import|from) [^\n]*\n\s*)*${definition}`).test(completion))
    return alone(completion);
  const body = block ?? completion;
  const end = functionEnd.exec(body);
  return prompt + (end ? body.slice(0, end.index) : body);
}

function limiter(concurrency: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = concurrency;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The place goes straight to whoever waits longest.
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}
