/**
 * The batch script of a stage. Everything that a task needs is in it, so that `sbatch --array=3 <script>` runs one task again.
 * Whatever comes from outside is quoted: for bash, and for sbatch's own reading of `#SBATCH` lines.
 */

import { CurationError } from '../errors.js';
import type { ClusterFolder } from './layout.js';
import type { ClusterStage, ClusterStageName } from './stages.js';

export interface BatchScriptOptions {
  folder: ClusterFolder;
  stage: ClusterStage;
  runId: string;
  /** Program and arguments that run a task, to which folder, run, stage and task are added. */
  command: readonly string[];
  outputFolder: string;
  /** Where the task runs: relative paths of the plan start there. */
  workingFolder: string;
  workers: number;
  sbatchOptions: readonly string[];
}

/** A task that was killed is tried again this often without anybody's doing. */
const automaticRestarts = 2;

export function batchScript(options: BatchScriptOptions): string {
  const { folder, stage, runId } = options;
  const isArray = stage.tasks > 1;
  // In a file name, sbatch would replace what follows a %.
  const log = folder.log(stage.name, 0).replaceAll('%', '%%');
  const directives = [
    `--job-name=${jobName(runId, stage.name)}`,
    `--output=${isArray ? log.replace(/-0\.log$/, '-%a.log') : log}`,
    '--open-mode=append',
    '--requeue',
    `--cpus-per-task=${options.workers}`,
    ...options.sbatchOptions,
  ];
  const task = isArray ? '"$SLURM_ARRAY_TASK_ID"' : '0';
  const command = [...options.command, options.outputFolder, runId, stage.name].map(quoteForBash).join(' ');
  return `#!/bin/bash
${directives.map((directive) => `#SBATCH ${quoteForSbatch(directive)}`).join('\n')}

# Made by @xgen-small/data-curation. To run a task again by itself: ${restartCommand(folder, stage, [0])}
run_id_file=${quoteForBash(folder.runId)}
if [ "$(cat -- "$run_id_file" 2>/dev/null)" != ${quoteForBash(runId)} ]; then
  echo "$(hostname) does not see run ${runId} in $run_id_file: the output folder has to lie on storage that every node shares." >&2
  exit 78
fi
cd -- ${quoteForBash(options.workingFolder)} || exit 78
${command} ${task}
code=$?
# 137: killed without a word, for want of memory or together with its node's services. It starts again, perhaps elsewhere.
if [ "$code" -eq 137 ] && [ "\${SLURM_RESTART_COUNT:-0}" -lt ${automaticRestarts} ] && scontrol requeue "$SLURM_JOB_ID"; then
  sleep 600 # until Slurm ends this attempt
fi
exit "$code"
`;
}

export function jobName(runId: string, stage: ClusterStageName): string {
  return `curate-${runId}-${stage}`;
}

/** What a person types to run some tasks of a stage again. */
export function restartCommand(folder: ClusterFolder, stage: ClusterStage, tasks: readonly number[]): string {
  const array = stage.tasks > 1 ? ` --array=${tasks.join(',')}` : '';
  return `sbatch${array} ${quoteForBash(folder.script(stage.name))}`;
}

export function quoteForBash(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Inside double quotes, sbatch takes a backslash before any character as that character. */
export function quoteForSbatch(directive: string): string {
  if (/[\n\r\0]/.test(directive)) {
    throw new CurationError('OPTION_INVALID', `${JSON.stringify(directive)} cannot be given to sbatch.`, {
      value: directive,
      remedy: 'Use paths and options without line breaks.',
    });
  }
  return /^[\w@%+=:,./-]+$/.test(directive) ? directive : `"${directive.replace(/["\\]/g, String.raw`\$&`)}"`;
}
