/**
 * A Hugging Face model folder into parameters. Names and shapes of every tensor are checked against the configuration
 * before any data is read; data stream into the fused matrices, so memory holds the model once.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseModelConfig } from '../config/hugging-face-config.js';
import type { ModelConfig } from '../config/model-config.js';
import { ModelError } from '../errors.js';
import { elementCount, headName, parameterLayout, type ParameterLayout } from '../parameters/parameter-layout.js';
import { ParameterStore } from '../parameters/parameter-store.js';
import { readSafetensors, type SafetensorsFile } from '../safetensors/read-safetensors.js';
import type { ProgressEvent } from '../util/progress.js';

export interface LoadOptions {
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
  /** Refuse NaN and infinity among the weights; default true. About 1 ns a value. */
  checkFinite?: boolean;
}

/** Buffers that old exporters wrote; they follow from the configuration. */
const derived = /\.rotary_emb\.inv_freq$|\.attn\.(bias|masked_bias)$/;

export async function loadConfig(folder: string): Promise<ModelConfig> {
  const file = join(folder, 'config.json');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new ModelError('FILE_NOT_FOUND', `${file} cannot be read: ${(cause as Error).message}.`, {
      file,
      value: file,
      remedy: 'Pass a Hugging Face model folder.',
      cause,
    });
  }
  return parseModelConfig(text);
}

function checkTensors(folder: string, config: ModelConfig, { entries }: SafetensorsFile): void {
  const expected = new Map(
    parameterLayout(config).flatMap(({ parts }) => parts.map((part) => [part.name, part.shape])),
  );
  for (const [name, shape] of expected) {
    const entry = entries.get(name);
    if (entry === undefined) {
      throw new ModelError('MISSING_TENSOR', `${folder} lacks the tensor ${name}.`, {
        value: name,
        remedy:
          name === headName
            ? 'If the model shares its embedding with the head, set "tie_word_embeddings": true in config.json.'
            : 'config.json and the weights do not belong together, or the download is incomplete.',
      });
    }
    if (entry.shape.length !== shape.length || entry.shape.some((size, axis) => size !== shape[axis])) {
      throw new ModelError(
        'SHAPE_MISMATCH',
        `${entry.file}: ${name} is [${entry.shape.join(', ')}]; config.json implies [${shape.join(', ')}].`,
        { file: entry.file, value: entry.shape, remedy: 'config.json and the weights do not belong together.' },
      );
    }
  }
  for (const [name, { file }] of entries) {
    if (expected.has(name) || derived.test(name) || (config.tieWordEmbeddings && name === headName)) continue;
    throw new ModelError('UNEXPECTED_TENSOR', `${file}: ${name} has no place in a plain Llama decoder.`, {
      file,
      value: name,
      remedy: /\.bias$/.test(name)
        ? 'Projections with a bias are not built.'
        : 'The model has parts that would be left out of the computation: it is refused rather than run wrongly.',
    });
  }
}

function checkFiniteValues(file: string, name: string, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    throw new ModelError('NOT_FINITE', `${file}: value ${i} of ${name} is ${values[i]}.`, {
      file,
      value: values[i],
      remedy: 'The training run diverged or the file is damaged; pass checkFinite: false to look at it anyway.',
    });
  }
}

async function readParameter(
  file: SafetensorsFile,
  { shape, parts }: ParameterLayout,
  checkFinite: boolean,
): Promise<Float32Array> {
  const values = new Float32Array(elementCount(shape));
  let at = 0;
  for (const { name, shape: partShape } of parts) {
    await file.readFloat32(name, { target: values, at });
    const end = at + elementCount(partShape);
    if (checkFinite) checkFiniteValues(file.entries.get(name)!.file, name, values.subarray(at, end));
    at = end;
  }
  return values;
}

/** Throws ModelError: INVALID_CONFIG, UNSUPPORTED_CONFIG, file errors, MISSING_TENSOR, SHAPE_MISMATCH, … */
export async function loadCheckpoint(
  folder: string,
  { signal, onProgress, checkFinite = true }: LoadOptions = {},
): Promise<{ config: ModelConfig; parameters: ParameterStore }> {
  const config = await loadConfig(folder);
  const file = await readSafetensors(folder);
  try {
    checkTensors(folder, config, file);
    const total = parameterLayout(config).length;
    let completed = 0;
    const parameters = await ParameterStore.createAsync(config, async (layout) => {
      if (signal?.aborted) {
        throw new ModelError('ABORTED', `Loading ${folder} was interrupted.`, {
          remedy: 'Load again.',
          cause: signal.reason,
        });
      }
      const values = await readParameter(file, layout, checkFinite);
      onProgress?.({ task: 'load model', completed: ++completed, total, unit: 'tensors', detail: layout.name });
      return values;
    });
    return { config, parameters };
  } finally {
    await file.close();
  }
}
