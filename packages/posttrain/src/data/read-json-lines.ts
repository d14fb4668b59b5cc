/**
 * Streams a JSONL file through a schema: one line in memory at a time, strict UTF-8, empty lines skipped, every bad
 * line an error that names file, line number, reason and remedy.
 */
import { createReadStream } from 'node:fs';
import type { z } from 'zod';
import { PosttrainError } from '../errors.js';
import { describeIssues } from './records.js';

const maximumLineBytes = 64 * 1024 * 1024;

/** The lines of a byte stream without their ends (LF or CRLF); the last one need not have an end. */
async function* splitLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      yield Buffer.concat([...pending, chunk.subarray(start, end)]);
      pending = [];
      pendingBytes = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      pending.push(chunk.subarray(start));
      pendingBytes += chunk.length - start;
    }
    // Yielded as it is: the caller's size check names file and line.
    if (pendingBytes > maximumLineBytes) break;
  }
  if (pendingBytes > 0) yield Buffer.concat(pending);
}

/**
 * Yields the records of `file` in order. Throws PosttrainError FILE_NOT_FOUND, READ_FAILED or INVALID_LINE.
 * `shape` is the remedy: what a good line looks like.
 */
export async function* readJsonLines<T>(file: string, schema: z.ZodType<T>, shape: string): AsyncGenerator<T> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const stream = createReadStream(file, { highWaterMark: 1 << 20 });
  let line = 0;
  const bad = (reason: string, value: unknown, cause?: unknown): PosttrainError =>
    new PosttrainError('INVALID_LINE', `${file}:${line}: ${reason}.`, {
      value,
      remedy: `Correct or remove the line; expected ${shape}.`,
      cause,
    });
  try {
    for await (const bytes of splitLines(stream)) {
      line++;
      if (bytes.length > maximumLineBytes) throw bad(`the line is longer than ${maximumLineBytes} bytes`, bytes.length);
      let text: string;
      try {
        text = decoder.decode(bytes).trim();
      } catch (cause) {
        throw bad('the line is not valid UTF-8', undefined, cause);
      }
      if (text === '') continue;
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch (cause) {
        throw bad(`not JSON (${(cause as Error).message})`, text.slice(0, 200), cause);
      }
      const parsed = schema.safeParse(value);
      if (!parsed.success) throw bad(describeIssues(parsed.error), value, parsed.error);
      yield parsed.data;
    }
  } catch (error) {
    if (PosttrainError.isInstance(error) || !(error instanceof Error) || !('syscall' in error)) throw error;
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new PosttrainError(
      missing ? 'FILE_NOT_FOUND' : 'READ_FAILED',
      missing ? `There is no file ${file}.` : `${file} could not be read: ${error.message}.`,
      { value: file, remedy: `Pass the path of a JSONL file with lines like ${shape}.`, cause: error },
    );
  } finally {
    stream.destroy();
  }
}
