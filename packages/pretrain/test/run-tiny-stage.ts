/** Runs of a tiny stage in temporary folders, for the tests of the training loop. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { countingDocuments } from './synthetic-documents';
import { tinyModel } from './tiny-model';
import { memoryDocumentSource } from '../src/data/memory-source';
import { PretrainError } from '../src/errors';
import type { PretrainStageInput } from '../src/stage/stage';
import type { PretrainStageOptions, PretrainStageResult } from '../src/run/options';
import { runPretrainStage } from '../src/run/run-pretrain-stage';

export const data = memoryDocumentSource(countingDocuments(), { vocabularySize: 32 });
export const stage: PretrainStageInput = {
  name: 'count',
  contextLength: 32,
  tokensPerStep: 128,
  microBatchTokens: 64,
  steps: 12,
  learningRate: { type: 'warmupStableDecay', peak: 0.02, warmup: { steps: 2 }, decay: { fraction: 0.5 } },
  mixture: { even: { share: 3 }, odd: { share: 1, topFraction: { start: 1, end: 0.5 } } },
};

/** As `stage`, at a constant rate, for any number of steps. */
export const short = { ...stage, learningRate: { type: 'warmupStableDecay', peak: 0.02 } } as const;

/** The running test's own folder, new for each. */
export let folder: string;

export function useTemporaryFolder(): void {
  beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'pretrain-run-'))));
  afterEach(async () => rm(folder, { recursive: true, force: true }));
}

/** Runs a fresh tiny model; disposes whatever came out. */
export async function run(
  options: Partial<PretrainStageOptions> = {},
  use: (result: PretrainStageResult) => Promise<void> = async () => {},
): Promise<PretrainStageResult> {
  const model = options.model ?? (await tinyModel());
  try {
    const result = await runPretrainStage({ data, stage, folder, seed: 1, ...options, model });
    await use(result);
    if (result.model !== model) result.model.dispose();
    return result;
  } finally {
    model.dispose();
  }
}

export async function failure(promise: Promise<unknown>): Promise<PretrainError> {
  const error: unknown = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (PretrainError.isInstance(error)) return error;
  throw error instanceof Error ? error : new Error('Nothing was thrown.');
}

/** Every file below a folder, by relative path; wall-clock fields of the metrics are left out. */
export async function contents(root: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const text = (await readFile(path)).toString('latin1');
    files[path.slice(root.length)] = entry.name.endsWith('.jsonl')
      ? text.replaceAll(/,"tokensPerSecond":[^,]*,"seconds":[^}]*/g, '')
      : text;
  }
  return files;
}
