/** HumanEval (arXiv 2107.03374) and the sandbox that runs what the model wrote. */

import type { LanguageModelUnderTest, Prompt } from '../model/types.js';
import type { Estimate, RunOptions, SampleRecord } from '../runs/types.js';

export interface CodeProblem {
  id: string;
  /** Source up to and including the function's docstring. */
  prompt: string;
  entryPoint: string;
  /** Source that defines `check(candidate)`. */
  test: string;
  canonicalSolution?: string;
}

export interface SandboxReport {
  available: boolean;
  python?: string;
  /** What cuts the network off. */
  network: 'namespace' | 'seccomp' | 'none';
  /** What keeps writes inside the temporary folder. */
  filesystem: 'landlock' | 'none';
  limits: string[];
  /** Why it cannot run, or what is weaker than it should be. */
  problems: string[];
}

export interface SandboxOptions {
  /** Default: `python3` on the PATH. */
  python?: string;
  /** Wall-clock seconds a program may take. Default 10. */
  timeoutSeconds?: number;
  /** Default 512 MiB. */
  memoryBytes?: number;
  /** Run even where the network or the file system cannot be cut off. Default false. */
  allowWeakIsolation?: boolean;
}

export interface SandboxRun {
  outcome: 'passed' | 'failed' | 'timeout' | 'killed';
  exitCode: number | null;
  /** First 64 KiB of each. */
  stdout: string;
  stderr: string;
  seconds: number;
}

export interface PythonSandbox {
  readonly report: SandboxReport;
  run(source: string, options?: { signal?: AbortSignal }): Promise<SandboxRun>;
}

export interface HumanEvalOptions extends RunOptions {
  model: LanguageModelUnderTest;
  problems: readonly CodeProblem[];
  /** Default 1. */
  samplesPerProblem?: number;
  /** Default 0 with one sample, else 0.8. */
  temperature?: number;
  topP?: number;
  maximumNewTokens?: number;
  seed?: number;
  /** Default: the problem's source, to be continued. */
  prompt?: (problem: CodeProblem) => Prompt;
  sandbox?: SandboxOptions;
  /** Programs run at once. Default 2. */
  concurrency?: number;
  task?: string;
}

export interface HumanEvalResult {
  task: string;
  model: string;
  settings: Record<string, unknown>;
  sandbox: SandboxReport;
  passAt: { k: number; estimate: Estimate }[];
  records: SampleRecord[];
}
