/** Turns any package's error into what a person reads: message, remedy, and for bugs the stack. */

/** Codes that mean the input was wrong rather than the run. */
const inputCodes = /^(INVALID|PLAN_INVALID|OPTION_INVALID|RECIPE_NOT_FOUND|RUN_MISMATCH|STAGE_NOT_READY|UNSUPPORTED)/;

export interface Explained {
  text: string;
  exitCode: number;
}

export function explainError(error: unknown, debug = false): Explained {
  if (!(error instanceof Error)) return { text: `xgen: ${String(error)}`, exitCode: 1 };
  const { code, remedy, value } = error as Error & { code?: unknown; remedy?: unknown; value?: unknown };
  if (code === 'INTERRUPTED') return { text: error.message, exitCode: typeof value === 'number' ? value : 130 };
  if (code === 'ENOSPC') {
    return {
      text: `xgen: the disk is full (${error.message}).\n  What to do: free some space, then run the same command to continue.`,
      exitCode: 1,
    };
  }
  if (typeof code !== 'string') return { text: `xgen: ${error.stack ?? error.message}`, exitCode: 1 };
  const lines = [`xgen: ${error.message} [${code}]`];
  if (typeof remedy === 'string') lines.push(`  What to do: ${remedy}`);
  if (debug && error.stack) lines.push(error.stack);
  if (debug && error.cause)
    lines.push(
      `Caused by: ${error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : JSON.stringify(error.cause)}`,
    );
  return { text: lines.join('\n'), exitCode: inputCodes.test(code) ? 2 : 1 };
}
