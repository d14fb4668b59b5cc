/**
 * What a checkpoint belongs to, as plain JSON: stage, model, data, seed. A resumed run must have the same identity; the
 * differences are named path by path.
 */
import { createHash } from 'node:crypto';
import type * as tf from '@tensorflow/tfjs-core';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined };

export interface IdentityDifference {
  path: string;
  was: Json | undefined;
  is: Json | undefined;
}

/** Paths at which two JSON values differ; keys with the value undefined count as absent. */
export function identityDifferences(was: Json | undefined, is: Json | undefined, path = ''): IdentityDifference[] {
  if (isRecord(was) && isRecord(is)) {
    const keys = [...new Set([...Object.keys(was), ...Object.keys(is)])].sort();
    return keys.flatMap((key) => identityDifferences(was[key], is[key], path === '' ? key : `${path}.${key}`));
  }
  return JSON.stringify(was) === JSON.stringify(is) ? [] : [{ path, was, is }];
}

/** `stage.steps: 100 there, 200 here` */
export function describeDifference({ path, was, is }: IdentityDifference): string {
  return `${path}: ${shortened(was)} there, ${shortened(is)} here`;
}

/** Hex SHA-256 over names, shapes and float32 values, in the map's order; reads every value back once. */
export async function hashVariables(variables: ReadonlyMap<string, tf.Tensor>): Promise<string> {
  const hash = createHash('sha256');
  for (const [name, variable] of variables) {
    const values = await variable.data();
    hash.update(JSON.stringify([name, variable.shape]), 'utf8');
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return hash.digest('hex');
}

function isRecord(value: Json | undefined): value is { [key: string]: Json | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shortened(value: Json | undefined): string {
  const text = value === undefined ? 'absent' : JSON.stringify(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}…`;
}
