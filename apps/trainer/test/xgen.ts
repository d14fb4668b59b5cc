/** Runs the built `xgen` as a user's shell does. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join, resolve } from 'node:path';

export const cli = resolve(import.meta.dirname, '../bin/xgen.mjs');

export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export function startXgen(
  args: readonly string[],
  cwd: string,
  { node = [], env = {} }: { node?: readonly string[]; env?: Record<string, string> } = {},
): { child: ChildProcess; done: Promise<Finished> } {
  const child = spawn(process.execPath, [...node, cli, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const done = new Promise<Finished>((finish, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => finish({ code, signal, stdout, stderr }));
  });
  return { child, done };
}

export function xgen(args: readonly string[], cwd: string): Promise<Finished> {
  return startXgen(args, cwd).done;
}

export const repository = join(import.meta.dirname, '../../..');

export interface RunJson {
  stages: Record<string, { outputs: { path: string; sha256: string }[]; summary: Record<string, unknown> }>;
}

/** Files whose bytes have to be the same in every run; metrics hold times, and reports of times too. */
export function reproducible(run: RunJson): Record<string, string> {
  return Object.fromEntries(
    Object.values(run.stages).flatMap(({ outputs }) =>
      outputs.filter(({ path }) => !path.endsWith('metrics.jsonl')).map(({ path, sha256 }) => [path, sha256]),
    ),
  );
}
