/** Turns any package's error into what a person reads: message, remedy, what to type, and for bugs the stack. */

/** Codes that mean the input was wrong rather than the run. */
const inputCodes =
  /^(INVALID|PLAN_INVALID|OPTION_INVALID|RECIPE_NOT_FOUND|RUN_MISMATCH|BACKEND_UNAVAILABLE|STAGE_NOT_READY|UNSUPPORTED|INPUT_NOT_FOUND|INPUT_INVALID|OUTPUT_FOLDER_MISMATCH|CLUSTER_RUN_NOT_FOUND)/;

/** What to type, where a package can only say what to do. */
const commands: Readonly<Record<string, string>> = {
  SLURM_NOT_FOUND: 'Without a cluster, `xgen curate` does the same work on this machine, to the same bytes.',
  SLURM_FAILED: 'Then run the same command again: what was submitted before a refusal has been cancelled.',
  CLUSTER_RUN_NOT_FOUND: '`xgen cluster submit <recipe> -o <run folder>` submits one.',
  CLUSTER_RUN_ACTIVE: '`xgen cluster status <run folder>` shows its tasks, `xgen cluster submit` continues it.',
  CLUSTER_TASKS_MISSING: '`xgen cluster status <run folder>` says why they failed and how to run each again.',
  PLAN_CHANGED: '`xgen cluster submit <recipe> -o <run folder>` submits it.',
  SOFTWARE_CHANGED: 'The command of the submission is called on every node: build it once, on shared storage.',
};

export interface Explained {
  text: string;
  exitCode: number;
}

export function explainError(error: unknown, debug = false): Explained {
  if (!(error instanceof Error)) return { text: `xgen: ${String(error)}`, exitCode: 1 };
  const { code, remedy, value } = error as Error & { code?: unknown; remedy?: unknown; value?: unknown };
  if (code === 'INTERRUPTED') return { text: error.message, exitCode: typeof value === 'number' ? value : 130 };
  // DuckDB's errors have no code.
  if (code === 'ENOSPC' || (code === undefined && /no space left on device/i.test(error.message))) {
    return {
      text: `xgen: the disk is full (${error.message}).\n  What to do: free some space, then run the same command to continue.`,
      exitCode: 1,
    };
  }
  if (typeof code !== 'string') return { text: `xgen: ${error.stack ?? error.message}`, exitCode: 1 };
  // Some packages end their messages with the remedy.
  const isRepeated = typeof remedy === 'string' && error.message.endsWith(` ${remedy}`);
  const message = isRepeated ? error.message.slice(0, -(remedy.length + 1)) : error.message;
  const lines = [`xgen: ${message} [${code}]`];
  const advice = [remedy, commands[code]].filter((text) => typeof text === 'string');
  if (advice.length > 0) lines.push(`  What to do: ${advice.join(' ')}`);
  if (debug && error.stack) lines.push(error.stack);
  if (debug && error.cause)
    lines.push(
      `Caused by: ${error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : JSON.stringify(error.cause)}`,
    );
  return { text: lines.join('\n'), exitCode: inputCodes.test(code) ? 2 : 1 };
}
