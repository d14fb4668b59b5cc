/**
 * Runs Python that nobody has read. Each program gets a process, a temporary folder and a wall-clock limit of its own; the walls
 * are in sandbox-bootstrap.ts. Before the first program a probe tries them and reports which hold: where the network or the
 * file system stay open, nothing is run unless the caller insists. Linux only. Cost: about 60 ms a program.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import { check } from '../validate.js';
import { sandboxBootstrap } from './sandbox-bootstrap.js';
import type { PythonSandbox, SandboxOptions, SandboxReport, SandboxRun } from './types.js';

const optionsSchema = z.strictObject({
  python: z.string().min(1).optional(),
  timeoutSeconds: z.number().positive().optional(),
  memoryBytes: z
    .int()
    .min(64 << 20)
    .optional(),
  allowWeakIsolation: z.boolean().optional(),
});

const probeSchema = z.object({
  namespace: z.boolean(),
  landlock: z.number(),
  seccomp: z.boolean(),
  limits: z.array(z.string()),
  problems: z.array(z.string()),
  networkHolds: z.boolean(),
  writeHolds: z.boolean(),
  readHolds: z.boolean(),
  processHolds: z.boolean(),
  folderWorks: z.boolean(),
  version: z.string(),
});

const outputLimit = 64 * 1024;

/** Seconds for what is known to end. */
const patience = 60;

/** Tries the walls; never throws for want of them. */
export async function inspectSandbox(options: SandboxOptions = {}): Promise<SandboxReport> {
  check(optionsSchema, options, 'inspectSandbox');
  return (await inspect(options)).report;
}

/** @throws EvaluationError SANDBOX_UNAVAILABLE, naming what is missing. */
export async function createPythonSandbox(options: SandboxOptions = {}): Promise<PythonSandbox> {
  check(optionsSchema, options, 'createPythonSandbox');
  const { report, interpreter } = await inspect(options);
  if (interpreter === undefined || !report.available) {
    throw new EvaluationError('SANDBOX_UNAVAILABLE', `Code cannot be run safely here: ${report.problems.join('; ')}.`, {
      value: report,
      remedy:
        interpreter === undefined
          ? 'Install Python 3.8 or later, or name it with the option python.'
          : 'Use Linux 5.13 or later with Landlock and seccomp, or set allowWeakIsolation where the machine itself is a sandbox.',
    });
  }
  return {
    report,
    run: (source, { signal } = {}) => runProgram(interpreter, source, options, 'run', signal),
  };
}

async function inspect(options: SandboxOptions): Promise<{ report: SandboxReport; interpreter?: string }> {
  const none: SandboxReport = { available: false, network: 'none', filesystem: 'none', limits: [], problems: [] };
  if (process.platform !== 'linux') {
    return { report: { ...none, problems: [`the sandbox needs Linux, and this is ${process.platform}`] } };
  }
  const python = options.python ?? 'python3';
  const interpreter = await resolveInterpreter(python);
  if (interpreter === undefined) {
    return { report: { ...none, problems: [`${python} cannot be started or is older than 3.8`] } };
  }
  // A caller's short limit is for programs: on a busy machine the probe alone may take longer.
  const run = await runProgram(interpreter, '', { ...options, timeoutSeconds: patience }, 'probe', undefined);
  const parsed = run.outcome === 'passed' ? probeSchema.safeParse(lastJson(run.stdout)) : undefined;
  if (!parsed?.success) {
    const why = run.stderr.trim().split('\n').at(-1) ?? '';
    return { report: { ...none, problems: [`the probe ended early (${run.outcome}${why === '' ? '' : `: ${why}`})`] } };
  }
  const probe = parsed.data;
  const problems = [
    ...(probe.networkHolds ? [] : ['the network can be reached']),
    ...(probe.writeHolds ? [] : ['files outside the temporary folder can be written']),
    ...(probe.readHolds ? [] : ['files outside the temporary folder can be read']),
    ...(probe.processHolds ? [] : ['other processes can be started']),
    ...(probe.folderWorks ? [] : ['the temporary folder cannot be written']),
    ...probe.problems,
  ];
  const sound = probe.networkHolds && probe.writeHolds && probe.folderWorks;
  const report: SandboxReport = {
    available: sound || (options.allowWeakIsolation === true && probe.folderWorks),
    python: probe.version,
    network: !probe.networkHolds ? 'none' : probe.namespace ? 'namespace' : 'seccomp',
    filesystem: probe.writeHolds && probe.landlock > 0 ? 'landlock' : 'none',
    limits: probe.limits,
    problems,
  };
  return { report, interpreter };
}

/** The interpreter itself: version managers put scripts on the PATH that need an environment. */
async function resolveInterpreter(python: string): Promise<string | undefined> {
  const code = 'import os, sys\nassert sys.version_info >= (3, 8)\nprint(os.path.realpath(sys.executable))';
  const result = await collect(
    spawn(python, ['-I', '-c', code], { stdio: ['ignore', 'pipe', 'pipe'] }),
    patience * 1000,
  );
  return result.exitCode === 0 ? result.stdout.trim() : undefined;
}

async function runProgram(
  interpreter: string,
  source: string,
  { timeoutSeconds = 10, memoryBytes = 512 << 20 }: SandboxOptions,
  mode: 'run' | 'probe',
  signal: AbortSignal | undefined,
): Promise<SandboxRun> {
  const folder = await mkdtemp(path.join(tmpdir(), 'xgen-sandbox-'));
  const started = performance.now();
  try {
    const settings = { cpuSeconds: Math.ceil(timeoutSeconds) + 1, memoryBytes, folder, mode };
    const child = spawn(interpreter, ['-I', '-B', '-c', sandboxBootstrap, JSON.stringify(settings)], {
      cwd: folder,
      // Nothing of the caller's environment: it may hold secrets.
      env: { HOME: folder, TMPDIR: folder, LANG: 'C.UTF-8' },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(source);
    const result = await collect(child, timeoutSeconds * 1000, signal);
    if (result.spawnError !== undefined) {
      throw new EvaluationError('SANDBOX_FAILED', `${interpreter} could not be started.`, {
        value: interpreter,
        cause: result.spawnError,
      });
    }
    if (signal?.aborted) throw new EvaluationError('ABORTED', 'A program was interrupted.', { cause: signal.reason });
    const { exitCode, stdout, stderr, timedOut } = result;
    const outcome = timedOut ? 'timeout' : exitCode === 0 ? 'passed' : exitCode === null ? 'killed' : 'failed';
    return { outcome, exitCode, stdout, stderr, seconds: (performance.now() - started) / 1000 };
  } finally {
    await rm(folder, { recursive: true, force: true });
    if (mode === 'probe') await rm(`${folder}.outside`, { force: true });
  }
}

interface Collected {
  exitCode: number | null;
  stdout: string;
  stderr: string;
  timedOut: boolean;
  spawnError?: Error;
}

function collect(child: ReturnType<typeof spawn>, timeout: number, signal?: AbortSignal): Promise<Collected> {
  return new Promise((resolve) => {
    const streams = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (text: string) => {
        // What is beyond the limit is read and dropped: a full pipe would stop the program.
        if (streams[name].length < outputLimit) streams[name] = (streams[name] + text).slice(0, outputLimit);
      });
    }
    let timedOut = false;
    const kill = (): void => {
      try {
        // The whole group: `detached` made the child its leader.
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    };
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, timeout);
    signal?.addEventListener('abort', kill, { once: true });
    if (signal?.aborted) kill();
    const finish = (exitCode: number | null, spawnError?: Error): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', kill);
      resolve({ exitCode, ...streams, timedOut, ...(spawnError ? { spawnError } : {}) });
    };
    child.on('error', (error) => finish(null, error));
    child.on('close', (exitCode) => finish(exitCode));
  });
}

function lastJson(text: string): unknown {
  try {
    return JSON.parse(text.trim().split('\n').at(-1) ?? '');
  } catch {
    return undefined;
  }
}
