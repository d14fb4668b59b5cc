/**
 * Asks a model every sample of a task, scores the answers and logs them. Prompts are built a batch at a time (a prompt may be a
 * megabyte); a sample's completions are scored and on disk as soon as they are there, so that an interruption costs only what
 * was in flight. Each completion's seed depends on the task's seed and the sample's id, not on the batch.
 */

import path from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { EvaluationError } from '../errors.js';
import type { Completion, GenerateOptions, LanguageModelUnderTest, Prompt } from '../model/types.js';
import { derivedSeed, sha256 } from '../random.js';
import { throwIfAborted } from '../validate.js';
import { SampleLog } from './sample-log.js';
import type { RunOptions, SampleRecord } from './types.js';

export interface BuiltSample {
  prompt: Prompt;
  references: string[];
  promptTokens?: number;
  metadata?: Record<string, unknown>;
  maximumNewTokens?: number;
}

export interface PendingSample {
  id: string;
  group: string;
  build: () => BuiltSample | Promise<BuiltSample>;
}

export interface ScoredCompletion {
  score: number;
  /** Goes under `metadata.completions` of the record. */
  detail?: Record<string, unknown>;
}

export interface SampleTask {
  task: string;
  model: LanguageModelUnderTest;
  /** Everything that prompts, completions and scores depend on. JSON values only. */
  settings: Record<string, unknown>;
  samples: readonly PendingSample[];
  completionsPerSample?: number;
  seed: number;
  generation: Omit<GenerateOptions, 'signal' | 'seeds' | 'onCompletion'>;
  score: (completion: Completion, sample: BuiltSample) => ScoredCompletion | Promise<ScoredCompletion>;
}

interface Answering {
  pending: PendingSample;
  built: BuiltSample;
  completions: (Completion | undefined)[];
  missing: number;
}

export async function runSamples(task: SampleTask, options: RunOptions): Promise<SampleRecord[]> {
  const { signal, onProgress, outputFolder, batchSize = 32 } = options;
  throwIfAborted(signal, task.task);
  const log =
    outputFolder === undefined
      ? undefined
      : await SampleLog.open(path.join(outputFolder, `${task.task}.samples.jsonl`), {
          task: task.task,
          model: task.model.name,
          settings: task.settings,
          identity: await task.model.identity?.(),
        });
  const records = new Map(log?.finished);
  const wanted = new Set(task.samples.map((sample) => sample.id));
  for (const id of records.keys()) if (!wanted.has(id)) records.delete(id);
  const remaining = task.samples.filter((sample) => !records.has(sample.id));
  const report = (detail?: string) =>
    onProgress?.({ task: task.task, completed: records.size, total: task.samples.length, unit: 'samples', detail });
  report(records.size > 0 ? `${records.size} from the log` : undefined);
  try {
    for (let start = 0; start < remaining.length; start += batchSize) {
      throwIfAborted(signal, task.task);
      await answerBatch(task, remaining.slice(start, start + batchSize), signal, async (record) => {
        await log?.append(record);
        records.set(record.id, record);
        report();
      });
    }
  } finally {
    await log?.close();
  }
  return task.samples.map((sample) => {
    const record = records.get(sample.id);
    if (record) return record;
    throw new EvaluationError('GENERATION_FAILED', `${task.model.name} returned no completion for ${sample.id}.`, {
      value: sample.id,
    });
  });
}

async function answerBatch(
  task: SampleTask,
  batch: readonly PendingSample[],
  signal: AbortSignal | undefined,
  finish: (record: SampleRecord) => Promise<void>,
): Promise<void> {
  const perSample = task.completionsPerSample ?? 1;
  const answering: Answering[] = [];
  for (const pending of batch) {
    // A long prompt takes a second to build: others get their turn in between.
    await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(signal, task.task);
    const completions = new Array<Completion | undefined>(perSample).fill(undefined);
    answering.push({ pending, built: await pending.build(), completions, missing: perSample });
  }
  const finishing: Promise<void>[] = [];
  const receive = (sample: Answering, which: number, completion: Completion): void => {
    if (sample.completions[which] !== undefined) return;
    sample.completions[which] = completion;
    if (--sample.missing > 0) return;
    const scored = scoreSample(task, sample).then(finish);
    // Awaited below; a rejection in between must not count as unhandled.
    scored.catch(() => undefined);
    finishing.push(scored);
  };
  try {
    for (const group of groupByLimit(answering, task.generation.maximumNewTokens)) {
      const slots = group.samples.flatMap((sample) => sample.completions.map((_, which) => ({ sample, which })));
      const completions = await task.model.generate(
        slots.map(({ sample }) => sample.built.prompt),
        {
          ...task.generation,
          maximumNewTokens: group.limit,
          seeds: slots.map(({ sample, which }) => derivedSeed(task.seed, task.task, sample.pending.id, which)),
          signal,
          onCompletion: (index, completion) => {
            const slot = slots[index];
            if (slot) receive(slot.sample, slot.which, completion);
          },
        },
      );
      slots.forEach(({ sample, which }, index) => {
        const completion = completions[index];
        if (completion) receive(sample, which, completion);
      });
    }
  } finally {
    // Whatever was answered before a failure reaches the log first.
    await Promise.allSettled(finishing);
  }
  await Promise.all(finishing);
}

/** Samples that may answer at different lengths go to the model in separate calls. */
function groupByLimit(samples: readonly Answering[], fallback: number): { limit: number; samples: Answering[] }[] {
  const groups = new Map<number, Answering[]>();
  for (const sample of samples) {
    const limit = sample.built.maximumNewTokens ?? fallback;
    const group = groups.get(limit);
    if (group) group.push(sample);
    else groups.set(limit, [sample]);
  }
  return [...groups].map(([limit, group]) => ({ limit, samples: group }));
}

async function scoreSample(task: SampleTask, { pending, built, completions }: Answering): Promise<SampleRecord> {
  const done = completions.filter((completion) => completion !== undefined);
  const scored = await Promise.all(done.map(async (completion) => task.score(completion, built)));
  const scores = scored.map(({ score }) => score);
  const text = promptText(built.prompt);
  const details = scored.some(({ detail }) => detail !== undefined)
    ? { completions: scored.map(({ detail }) => detail ?? {}) }
    : undefined;
  const promptTokens = built.promptTokens ?? done[0]?.promptTokens;
  return {
    id: pending.id,
    group: pending.group,
    prompt: excerpt(text),
    promptSha256: sha256(text),
    completions: done.map((completion) => completion.text),
    references: built.references,
    scores,
    score: scores.reduce((sum, score) => sum + score, 0) / Math.max(1, scores.length),
    finishReasons: done.map((completion) => completion.finishReason),
    ...(promptTokens === undefined ? {} : { promptTokens }),
    ...(built.metadata || details ? { metadata: { ...built.metadata, ...details } } : {}),
  };
}

export function promptText(prompt: Prompt): string {
  return typeof prompt === 'string' ? prompt : JSON.stringify(prompt);
}

function excerpt(text: string): string {
  if (text.length <= 8000) return text;
  return `${text.slice(0, 4000)}\n[… ${text.length - 8000} characters …]\n${text.slice(-4000)}`;
}

/** Writes `<task>.results.json` where an output folder was given; returns its argument. */
export async function writeResults<T extends { task: string; records: SampleRecord[] }>(
  result: T,
  options: RunOptions,
): Promise<T> {
  if (options.outputFolder !== undefined) {
    const { records, ...rest } = result;
    const content = { format: 'xgen-small/results', version: 1, ...rest, samples: records.length };
    await writeFileAtomic(
      path.join(options.outputFolder, `${result.task}.results.json`),
      `${JSON.stringify(content, null, 2)}\n`,
    );
  }
  return result;
}
