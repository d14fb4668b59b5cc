/**
 * Checkpoints of a training loop, one folder each:
 *
 *   checkpoints/step-00000100/
 *     config.json, model.safetensors …   the model, loadable by itself
 *     training-variables.safetensors     everything beside it: moments, a value head
 *     trainer-state.json                 format version, identity, the loop's state, size and SHA-256 of the other files
 *
 * A checkpoint appears only when whole; the one before is removed after that. Nothing in it depends on the clock.
 */
import { rm, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs-core';
import { CausalLanguageModel, readSafetensors, writeFileAtomic, writeSafetensors } from '@xgen-small/model-core';
import { tensor } from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { PretrainError } from '../errors';
import { createFolderAtomic, listFolder, recordFile, recordFiles, removeTemporaryFolders } from './durable-folder';
import { describeDifference, identityDifferences, type Json } from './identity';

const formatVersion = 1;
const stateFile = 'trainer-state.json';
const variablesFile = 'training-variables.safetensors';
const folderPattern = /^step-(\d{8,})$/;

const trainerStateSchema = z.strictObject({
  formatVersion: z.number().int(),
  kind: z.string(),
  step: z.number().int().nonnegative(),
  identity: z.record(z.string(), z.json()),
  state: z.json(),
  files: z.record(z.string(), z.strictObject({ bytes: z.number().int(), sha256: z.string() })),
});

export interface TrainingCheckpoint {
  folder: string;
  step: number;
  /** What `save` was given. */
  state: Json;
  identity: Record<string, Json>;
  /** SHA-256 of the file that holds everything beside the model. */
  variablesHash: string;
  /** The model it holds; the caller disposes it. */
  loadModel(): Promise<CausalLanguageModel>;
  /** Copies the checkpoint's values into the model's parameters, which must have its names and shapes. */
  restoreModel(model: CausalLanguageModel): Promise<void>;
  /** Copies what was saved beside the model into variables of the same names and shapes. */
  restoreVariables(variables: ReadonlyMap<string, tf.Variable>): Promise<void>;
}

export interface CheckpointContent {
  step: number;
  model: CausalLanguageModel;
  /** Everything to restore beside the model; float32. */
  variables: ReadonlyMap<string, tf.Variable>;
  state: Json;
  identity: Record<string, Json>;
}

export interface CheckpointStoreOptions {
  /** Created when missing. */
  folder: string;
  /** Which loop wrote it, `pretrain`; another loop's checkpoints are refused. */
  kind: string;
}

export class CheckpointStore {
  constructor(private readonly options: CheckpointStoreOptions) {}

  /**
   * The newest checkpoint, its files verified against their hashes, or undefined. Throws RUN_MISMATCH naming every
   * difference from `identity`, CORRUPT_CHECKPOINT naming the file, UNSUPPORTED_CHECKPOINT for another format version.
   */
  async latest(identity?: Record<string, Json>): Promise<TrainingCheckpoint | undefined> {
    await removeTemporaryFolders(this.options.folder);
    const newest = (await this.list()).at(-1);
    if (newest === undefined) return undefined;
    const checkpoint = await openCheckpoint(join(this.options.folder, newest), this.options.kind);
    if (identity !== undefined) assertSameIdentity(checkpoint, identity);
    return checkpoint;
  }

  /** Writes a checkpoint, then removes older ones; returns its folder. Throws WRITE_FAILED with the older ones intact. */
  async save({ step, model, variables, state, identity }: CheckpointContent): Promise<string> {
    const { folder, kind } = this.options;
    const name = `step-${String(step).padStart(8, '0')}`;
    const older = await this.list();
    if (older.includes(name)) return join(folder, name); // a step has one outcome
    try {
      const saved = await createFolderAtomic(folder, name, async (temporary) => {
        await model.save(temporary);
        await writeVariables(join(temporary, variablesFile), variables);
        const files = await recordFiles(temporary);
        const text = JSON.stringify({ formatVersion, kind, step, identity, state, files }, undefined, 2);
        await writeFileAtomic(join(temporary, stateFile), `${text}\n`);
      });
      for (const other of older) await rm(join(folder, other), { recursive: true, force: true });
      return saved;
    } catch (cause) {
      const last = older.at(-1);
      throw new PretrainError(
        'WRITE_FAILED',
        `The checkpoint of step ${step} could not be written to ${folder}: ${(cause as Error).message} ` +
          (last === undefined ? 'There is no earlier one.' : `The checkpoint before it, ${last}, is intact.`),
        { value: folder, remedy: 'Free space or fix the folder, then run again.', cause },
      );
    }
  }

  private async list(): Promise<string[]> {
    const names = (await listFolder(this.options.folder)).filter((name) => folderPattern.test(name));
    return names.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  }
}

/** Opens one checkpoint folder and verifies its files. */
export async function openCheckpoint(folder: string, kind: string): Promise<TrainingCheckpoint> {
  const { step, state, identity, files } = await readTrainerState(folder, kind);
  for (const [name, expected] of Object.entries(files)) {
    const path = join(folder, name);
    const found = await recordFile(path).catch((cause: unknown) => corrupt(path, 'cannot be read', cause));
    if (found.bytes !== expected.bytes) corrupt(path, `has ${found.bytes} bytes instead of ${expected.bytes}`);
    if (found.sha256 !== expected.sha256)
      corrupt(path, `has the SHA-256 ${found.sha256} instead of ${expected.sha256}`);
  }
  return {
    folder,
    step,
    state,
    identity,
    variablesHash: files[variablesFile]?.sha256 ?? corrupt(join(folder, stateFile), `does not list ${variablesFile}`),
    loadModel: () => CausalLanguageModel.load(folder),
    restoreModel: (model) => restoreModel(folder, model),
    restoreVariables: (variables) => restoreVariables(folder, variables),
  };
}

async function readTrainerState(folder: string, kind: string): Promise<z.output<typeof trainerStateSchema>> {
  const path = join(folder, stateFile);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => corrupt(path, 'cannot be read', cause));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    return corrupt(path, 'is not JSON', cause);
  }
  const { formatVersion: version, kind: foundKind } = (json ?? {}) as { formatVersion?: unknown; kind?: unknown };
  if (typeof version === 'number' && version !== formatVersion) {
    throw new PretrainError('UNSUPPORTED_CHECKPOINT', `${path} has format version ${version}.`, {
      value: version,
      remedy: `This release reads version ${formatVersion}; use the release that wrote it.`,
    });
  }
  if (typeof foundKind === 'string' && foundKind !== kind) {
    throw new PretrainError('RUN_MISMATCH', `${folder} is a checkpoint of "${foundKind}", not of "${kind}".`, {
      value: foundKind,
      remedy: 'Choose another folder.',
    });
  }
  const parsed = trainerStateSchema.safeParse(json);
  return parsed.success ? parsed.data : corrupt(path, `is not a trainer state (${parsed.error.issues[0].message})`);
}

async function writeVariables(file: string, variables: ReadonlyMap<string, tf.Variable>): Promise<void> {
  const tensors = [...variables].map(([name, variable]) => ({
    name,
    dtype: 'F32' as const,
    shape: variable.shape,
    data: async () => (await variable.data()) as Float32Array,
  }));
  await writeSafetensors(file, tensors);
}

async function restoreModel(folder: string, model: CausalLanguageModel): Promise<void> {
  const saved = await CausalLanguageModel.load(folder);
  try {
    for (const [name, parameter] of model.parameters) {
      const value = saved.parameters.get(name);
      if (value === undefined) corrupt(folder, `has no parameter ${name}`);
      else parameter.assign(value);
    }
  } finally {
    saved.dispose();
  }
}

async function restoreVariables(folder: string, variables: ReadonlyMap<string, tf.Variable>): Promise<void> {
  const path = join(folder, variablesFile);
  const file = await readSafetensors(path);
  try {
    for (const [name, variable] of variables) {
      const entry = file.entries.get(name);
      if (JSON.stringify(entry?.shape) !== JSON.stringify(variable.shape)) {
        corrupt(path, `holds ${name} as [${entry?.shape ?? 'nothing'}] instead of [${variable.shape}]`);
      }
      const value = tensor(await file.readFloat32(name), variable.shape, 'float32');
      variable.assign(value);
      value.dispose();
    }
  } finally {
    await file.close();
  }
}

/** Throws RUN_MISMATCH naming every path that differs. */
export function assertSameIdentity(checkpoint: TrainingCheckpoint, identity: Record<string, Json>): void {
  const differences = identityDifferences(checkpoint.identity, identity);
  if (differences.length === 0) return;
  throw new PretrainError(
    'RUN_MISMATCH',
    `${checkpoint.folder} belongs to another run:\n${differences.map((d) => `  - ${describeDifference(d)}`).join('\n')}`,
    { value: differences, remedy: '\nRestore these settings, or choose another folder.' },
  );
}

function corrupt(path: string, what: string, cause?: unknown): never {
  throw new PretrainError('CORRUPT_CHECKPOINT', `${path} ${what}.`, {
    value: path,
    remedy: 'Delete this checkpoint folder; the stage then starts from the one before, or from its beginning.',
    cause,
  });
}
