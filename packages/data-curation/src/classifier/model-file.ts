/**
 * The file of a classifier: the 8 bytes `XGCLASS1`, a uint32 (little-endian) with the length of a JSON header, the header, then for each
 * model of the ensemble its bias and its weights as float32 (little-endian), only rows and buckets that the header declares.
 */

import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { CurationError } from '../errors.js';
import { canonicalJson } from '../util/canonical-json.js';
import { writeFileWhole } from '../util/files.js';
import type { FeatureView } from './features.js';
import type { LinearModel } from './softmax.js';

export interface EnsembleMember {
  view: FeatureView;
  temperature: number;
  model: LinearModel;
}

export interface ClassifierData {
  labels: string[];
  members: EnsembleMember[];
}

const magic = 'XGCLASS1';
const headerSchema = z.strictObject({
  labels: z.array(z.string()).min(2),
  members: z
    .array(
      z.strictObject({
        view: z.enum(['words', 'characters']),
        temperature: z.number().positive(),
        buckets: z
          .int()
          .min(2)
          .max(2 ** 24),
      }),
    )
    .min(1),
});

export async function writeClassifier(path: string, data: ClassifierData): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFileWhole(path, classifierBytes(data));
}

/** The bytes of the file: the same data always give the same. */
export function classifierBytes({ labels, members }: ClassifierData): Buffer {
  const header = Buffer.from(
    canonicalJson({
      labels,
      members: members.map(({ view, temperature, model }) => ({ view, temperature, buckets: model.buckets })),
    }),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  const arrays = members.flatMap(({ model }) => [toBytes(model.bias), toBytes(model.weights)]);
  return Buffer.concat([Buffer.from(magic), length, header, ...arrays]);
}

/** Whether a file begins like a classifier's; false for one that cannot be read. */
export async function isClassifierFile(path: string): Promise<boolean> {
  const handle = await open(path, 'r').catch(() => undefined);
  if (handle === undefined) return false;
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(magic.length), length: magic.length });
    return bytesRead === magic.length && buffer.toString('latin1') === magic;
  } catch {
    return false;
  } finally {
    await handle.close();
  }
}

/** @throws CurationError `INPUT_INVALID` for a file that is not a whole classifier. */
export async function readClassifier(path: string): Promise<ClassifierData> {
  const refuse = (reason: string, cause?: unknown) =>
    new CurationError('INPUT_INVALID', `${path} is not a classifier: ${reason}.`, {
      value: path,
      remedy: 'Train it again with trainTextClassifier.',
      cause,
    });
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new CurationError('INPUT_NOT_FOUND', `The classifier ${path} cannot be read.`, {
      value: path,
      remedy: 'Check the path in the plan.',
      cause: error,
    });
  }
  if (bytes.subarray(0, 8).toString('latin1') !== magic || bytes.length < 12) throw refuse('wrong first bytes');
  const start = 12 + bytes.readUInt32LE(8);
  if (start > bytes.length) throw refuse('the header is cut off');
  let json: unknown;
  try {
    json = JSON.parse(bytes.subarray(12, start).toString());
  } catch (error) {
    throw refuse('the header is not JSON', error);
  }
  const parsed = headerSchema.safeParse(json);
  if (!parsed.success) throw refuse(z.prettifyError(parsed.error).replaceAll('\n', ' '), parsed.error);
  const { labels, members } = parsed.data;
  const floats = members.reduce((sum, member) => sum + labels.length * (1 + member.buckets), 0);
  if (bytes.length !== start + floats * 4) throw refuse(`it has ${bytes.length} bytes, not ${start + floats * 4}`);
  let at = start;
  const take = (count: number): Float32Array => {
    const values = new Float32Array(count);
    for (let index = 0; index < count; index++) values[index] = bytes.readFloatLE(at + index * 4);
    at += count * 4;
    return values;
  };
  return {
    labels,
    members: members.map(({ view, temperature, buckets }) => {
      const bias = take(labels.length);
      return {
        view,
        temperature,
        model: { labels: labels.length, buckets, bias, weights: take(labels.length * buckets) },
      };
    }),
  };
}

function toBytes(values: Float32Array): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes;
}
