/** zod to this package's error: the message names each setting, what it was and what it may be. */

import { z } from 'zod';
import { EvaluationError, type EvaluationErrorCode } from './errors.js';
import type { LanguageModelUnderTest } from './model/types.js';

export function check<T extends z.ZodType>(
  schema: T,
  value: unknown,
  where: string,
  code: EvaluationErrorCode = 'INVALID_OPTIONS',
): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const path = issue.path.map(String).join('.');
    return path === '' ? issue.message : `${path}: ${issue.message}`;
  });
  throw new EvaluationError(code, `${where}: ${problems.join('; ')}.`, {
    value: result.error.issues.map((issue) => issue.path.map(String).join('.')),
    remedy: code === 'INVALID_OPTIONS' ? 'See the options of this function in its type.' : undefined,
    cause: result.error,
  });
}

const anyFunction = z.custom<(...values: never[]) => unknown>((value) => typeof value === 'function', 'is no function');

export const functionOption = anyFunction.optional();

export const modelOption = z.custom<LanguageModelUnderTest>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { generate?: unknown }).generate === 'function' &&
    typeof (value as { name?: unknown }).name === 'string',
  'is no LanguageModelUnderTest (a name and generate()); localModel() and openAiEndpoint() make one',
);

/** The fields of RunOptions, for strict schemas. */
export const runOptionFields = {
  outputFolder: z.string().min(1).optional(),
  batchSize: z.int().positive().optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: functionOption,
  task: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'names files: letters, digits, dot, dash and underscore')
    .optional(),
};

export const seedOption = z.int().min(0).optional();
export const tokenLimitOption = z.int().positive().optional();

export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (!signal?.aborted) return;
  throw new EvaluationError('ABORTED', `${what} was interrupted.`, {
    remedy: 'Finished samples are in the log; the same call continues there.',
    cause: signal.reason,
  });
}

/** The log tells samples apart by their ids. */
export function checkDistinct(ids: readonly string[]): void {
  const seen = new Set<string>();
  for (const id of ids) {
    if (seen.has(id)) {
      throw new EvaluationError('INVALID_DATA', `Two samples have the id ${id}.`, {
        value: id,
        remedy: 'Give each its own: the log tells them apart by it.',
      });
    }
    seen.add(id);
  }
}
