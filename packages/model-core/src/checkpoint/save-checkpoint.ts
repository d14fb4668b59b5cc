/**
 * Parameters into a Hugging Face model folder that transformers and vLLM load unchanged: config.json, one
 * model.safetensors or numbered shards with an index, and the caller's extra files (tokenizer).
 *
 * A new folder appears whole: it is written beside its name, synced and renamed. Into a folder that holds files
 * already, everything is first written and synced under a temporary name. If only the weights change and they are one
 * file, one rename replaces them. Otherwise the old model's entry point (index or model.safetensors) goes, the files
 * take their names, and the new entry point comes last: a crash in that moment leaves a folder that load() refuses as
 * incomplete, never a mixture.
 */
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Variable } from '@tensorflow/tfjs-core';
import { toHuggingFaceConfig } from '../config/hugging-face-config.js';
import type { ModelConfig } from '../config/model-config.js';
import { ModelError } from '../errors.js';
import { elementCount, parameterLayout } from '../parameters/parameter-layout.js';
import type { SafetensorsDtype, SafetensorsSource } from '../safetensors/types.js';
import { sourceBytes, writeSafetensors } from '../safetensors/write-safetensors.js';
import type { ProgressEvent } from '../util/progress.js';
import {
  removeStaleTemporaries,
  syncFolder,
  temporaryName,
  writeError,
  writeFileAtomic,
} from '../util/write-file-atomic.js';

export interface SaveOptions {
  /** Files to lie beside the model, by name (tokenizer.json, tokenizer_config.json, generation_config.json, …). */
  extraFiles?: Readonly<Record<string, string | Uint8Array>>;
  /** Storage of the weights, rounded to nearest even; default 'float32'. */
  dtype?: 'float32' | 'bfloat16' | 'float16';
  /** Largest size of one safetensors file's data; default 5e9. One tensor is never split. */
  maximumShardBytes?: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

const storage = { float32: 'F32', bfloat16: 'BF16', float16: 'F16' } as const satisfies Record<
  string,
  SafetensorsDtype
>;
const singleFile = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';
const ours = /^(config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json)$/;
const shardName = /^model-\d{5}-of-\d{5}\.safetensors$/;

function checkExtraFiles(extraFiles: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(extraFiles)) {
    if (name === '' || name === '.' || name === '..' || /[/\\]/.test(name) || ours.test(name)) {
      throw new ModelError('INVALID_ARGUMENT', `extraFiles cannot have a file named ${JSON.stringify(name)}.`, {
        value: name,
        remedy: 'Use plain file names other than the model’s own.',
      });
    }
  }
}

/** File tensors of a model; a fused parameter is fetched from the device once, for all of its parts. */
function sources(
  config: ModelConfig,
  variables: ReadonlyMap<string, Variable>,
  dtype: SafetensorsDtype,
): SafetensorsSource[] {
  let fetched: { name: string; values: Float32Array } | undefined;
  return parameterLayout(config).flatMap(({ name, parts }) => {
    let at = 0;
    return parts.map((part) => {
      const from = at;
      const count = elementCount(part.shape);
      at += count;
      return {
        name: part.name,
        dtype,
        shape: part.shape,
        data: async () => {
          if (fetched?.name !== name) fetched = { name, values: (await variables.get(name)!.data()) as Float32Array };
          return fetched.values.subarray(from, from + count);
        },
      };
    });
  });
}

function split(tensors: SafetensorsSource[], maximumBytes: number): SafetensorsSource[][] {
  const shards: SafetensorsSource[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const size = sourceBytes(tensor);
    if (bytes > 0 && bytes + size > maximumBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += size;
  }
  return shards;
}

/** Writes every file into `folder` under final names; the entry point comes last in the list returned. */
async function writeFiles(
  folder: string,
  config: ModelConfig,
  variables: ReadonlyMap<string, Variable>,
  { extraFiles = {}, dtype = 'float32', maximumShardBytes = 5e9, signal, onProgress }: SaveOptions,
): Promise<string[]> {
  const written: string[] = [];
  const json = JSON.stringify({ ...toHuggingFaceConfig(config), torch_dtype: dtype }, null, 2);
  for (const [name, content] of Object.entries({ ...extraFiles, 'config.json': `${json}\n` })) {
    await writeFileAtomic(join(folder, name), content);
    written.push(name);
  }
  const tensors = sources(config, variables, storage[dtype]);
  const shards = split(tensors, maximumShardBytes);
  const total = tensors.reduce((bytes, tensor) => bytes + sourceBytes(tensor), 0);
  let completed = 0;
  const weightMap: Record<string, string> = {};
  for (const [index, shard] of shards.entries()) {
    const count = String(shards.length).padStart(5, '0');
    const name =
      shards.length === 1 ? singleFile : `model-${String(index + 1).padStart(5, '0')}-of-${count}.safetensors`;
    await writeSafetensors(join(folder, name), shard, {
      signal,
      onTensor: (tensor, bytes) =>
        onProgress?.({ task: 'save model', completed: (completed += bytes), total, unit: 'bytes', detail: tensor }),
    });
    for (const tensor of shard) weightMap[tensor.name] = name;
    written.push(name);
  }
  if (shards.length > 1) {
    const index = { metadata: { total_size: total }, weight_map: weightMap };
    await writeFileAtomic(join(folder, indexFile), `${JSON.stringify(index, null, 2)}\n`);
    written.push(indexFile);
  }
  return written;
}

/** Whether old and new weights are one file each, under the same configuration. */
async function onlyWeightsChange(staging: string, folder: string, names: string[]): Promise<boolean> {
  if (names.at(-1) !== singleFile || (await readdir(folder)).includes(indexFile)) return false;
  const configs = [staging, folder].map((place) => readFile(join(place, 'config.json'), 'utf8').catch(() => undefined));
  const [staged, present] = await Promise.all(configs);
  return staged === present;
}

/** Moves staged files into a folder in use; see the module's header for the order. */
async function replaceFiles(staging: string, folder: string, names: string[]): Promise<void> {
  if (!(await onlyWeightsChange(staging, folder, names))) {
    await rm(join(folder, indexFile), { force: true });
    await rm(join(folder, singleFile), { force: true });
    await syncFolder(folder);
  }
  for (const name of names) await rename(join(staging, name), join(folder, name));
  await syncFolder(folder);
  for (const name of await readdir(folder)) {
    if (shardName.test(name) && !names.includes(name)) await rm(join(folder, name));
  }
}

/** Throws ModelError WRITE_FAILED (disk full, …), ABORTED or INVALID_ARGUMENT; the folder is then as it was. */
export async function saveCheckpoint(
  folder: string,
  config: ModelConfig,
  variables: ReadonlyMap<string, Variable>,
  options: SaveOptions = {},
): Promise<void> {
  checkExtraFiles(options.extraFiles ?? {});
  if (options.dtype !== undefined && !Object.hasOwn(storage, options.dtype)) {
    throw new ModelError('INVALID_ARGUMENT', `Weights cannot be stored as ${JSON.stringify(options.dtype)}.`, {
      value: options.dtype,
      remedy: 'Choose float32, bfloat16 or float16.',
    });
  }
  const target = resolve(folder);
  let staging: string | undefined;
  try {
    await mkdir(dirname(target), { recursive: true });
    const existing = await readdir(target).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    // Inside a folder in use, beside a new one: either way on the same file system as the target.
    const place = existing.length === 0 ? target : join(target, basename(target));
    await removeStaleTemporaries(place);
    staging = temporaryName(place);
    await mkdir(staging);
    const names = await writeFiles(staging, config, variables, options);
    if (existing.length === 0) {
      await rename(staging, target);
      await syncFolder(dirname(target));
    } else {
      await replaceFiles(staging, target, names);
    }
  } catch (error) {
    throw ModelError.isInstance(error) ? error : writeError(target, error);
  } finally {
    if (staging !== undefined) await rm(staging, { recursive: true, force: true });
  }
}
