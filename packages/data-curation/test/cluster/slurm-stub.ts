/** Commands `sbatch`, `squeue` and `scancel` that note how they were called, for tests of what is submitted when. */

import { spawn } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

export interface SubmittedScript {
  jobId: string;
  array: string | undefined;
  dependency: string | undefined;
  script: string;
}

export class SlurmStub {
  private constructor(readonly folder: string) {}

  /** Stands first on the PATH until `remove`. */
  static async install(folder: string): Promise<SlurmStub> {
    await mkdir(folder, { recursive: true });
    const stub = new SlurmStub(folder);
    await stub.#program(
      'sbatch',
      `if [ "$1" = --version ]; then echo 'slurm 0'; exit; fi
       number=$(($(cat "$here/count" 2>/dev/null || echo 0) + 1)); echo "$number" >"$here/count"
       if [ -f "$here/refuse" ] && [ "$number" -ge "$(cat "$here/refuse")" ]; then echo 'sbatch: error: no such partition' >&2; exit 1; fi
       { printf '%s' "$number"; printf '\\037%s' "$@"; echo; } >>"$here/calls"
       echo "$number"`,
    );
    await stub.#program('squeue', `cat "$here/queue" 2>/dev/null || true`);
    await stub.#program('scancel', `echo "$*" >>"$here/cancelled"`);
    process.env.PATH = `${folder}${delimiter}${process.env.PATH}`;
    return stub;
  }

  async remove(): Promise<void> {
    process.env.PATH = process.env.PATH?.replace(`${this.folder}${delimiter}`, '');
    await rm(this.folder, { recursive: true, force: true });
  }

  /** From this call on, sbatch fails. */
  async refuseFrom(call: number | undefined): Promise<void> {
    if (call === undefined) await rm(join(this.folder, 'refuse'), { force: true });
    else await writeFile(join(this.folder, 'refuse'), String(call));
  }

  /** What squeue prints: `name|index|job|state|node|reason`. */
  async setQueue(lines: readonly string[]): Promise<void> {
    await writeFile(join(this.folder, 'queue'), lines.map((line) => `${line}\n`).join(''));
  }

  async cancelled(): Promise<string> {
    return readFile(join(this.folder, 'cancelled'), 'utf8').catch(() => '');
  }

  /** The scripts submitted since the last call. */
  async takeSubmitted(): Promise<SubmittedScript[]> {
    const text = await readFile(join(this.folder, 'calls'), 'utf8').catch(() => '');
    await rm(join(this.folder, 'calls'), { force: true });
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [jobId, ...args] = line.split('\u001f');
        const option = (name: string) => args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
        return { jobId, array: option('array'), dependency: option('dependency'), script: args.at(-1)! };
      });
  }

  async #program(name: string, body: string): Promise<void> {
    const path = join(this.folder, name);
    await writeFile(path, `#!/bin/bash\nhere=$(dirname "$0")\n${body}\n`);
    await chmod(path, 0o755);
  }
}

/** Runs a program to its end; killed after `killAfter` milliseconds if given. */
export async function runProgram(
  command: readonly string[],
  options: { environment?: NodeJS.ProcessEnv; killAfter?: number } = {},
): Promise<{ code: number | null; killed: boolean; printed: string }> {
  const child = spawn(command[0], command.slice(1), { env: { ...process.env, ...options.environment } });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
  const timer =
    options.killAfter === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), options.killAfter);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) =>
    child.on('close', (exit, name) => resolve([exit, name])).on('error', reject),
  );
  clearTimeout(timer);
  return { code, killed: signal === 'SIGKILL', printed };
}
