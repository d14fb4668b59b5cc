/** Reads JSONL, gzipped when the name ends in `.gz`, and checks each line; a bad one is named by its number. */

import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import type { z } from 'zod';
import { EvaluationError } from '../errors.js';

export async function readText(file: string): Promise<string> {
  try {
    const bytes = await readFile(file);
    return (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  } catch (cause) {
    throw new EvaluationError('INVALID_DATA', `${file} cannot be read: ${(cause as Error).message}.`, {
      value: file,
      cause,
    });
  }
}

export async function readJsonl<T extends z.ZodType>(file: string, schema: T): Promise<z.infer<T>[]> {
  const rows: z.infer<T>[] = [];
  const lines = (await readText(file)).split('\n');
  lines.forEach((line, index) => {
    if (line.trim() === '') return;
    rows.push(parseJson(line, schema, `Line ${index + 1} of ${file}`));
  });
  if (rows.length === 0) {
    throw new EvaluationError('INVALID_DATA', `${file} has no rows.`, { value: file });
  }
  return rows;
}

export async function readJson<T extends z.ZodType>(file: string, schema: T): Promise<z.infer<T>> {
  return parseJson(await readText(file), schema, file);
}

function parseJson<T extends z.ZodType>(text: string, schema: T, where: string): z.infer<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EvaluationError('INVALID_DATA', `${where} is not JSON: ${(cause as Error).message}.`, {
      value: text.slice(0, 200),
      cause,
    });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new EvaluationError(
    'INVALID_DATA',
    `${where} has not the expected fields: ${issue?.path.map(String).join('.')}: ${issue?.message}.`,
    { value: text.slice(0, 200), cause: result.error },
  );
}
