/** What tasks write about themselves, for people: who ran a task last, and why it failed. No decision rests on it. */

import { readFile } from 'node:fs/promises';

export interface AttemptNote {
  /** The node's name in the cluster. */
  node: string;
  host: string;
  pid: number;
  startedAt: string;
}

export interface FailureNote extends AttemptNote {
  failedAt: string;
  code: string;
  message: string;
  /** The command that runs the task again by itself. */
  restart: string;
}

/** Undefined when the note is not there. */
export async function readNote<T extends AttemptNote>(path: string): Promise<T | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}
