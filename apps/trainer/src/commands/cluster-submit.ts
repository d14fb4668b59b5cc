/**
 * `xgen cluster submit`: the curation of a recipe as Slurm job arrays, into the folder where `xgen curate` would put it. The run folder is
 * locked only while the jobs are submitted; what they leave is taken up by the next `xgen run` or `xgen tokenize` of the recipe.
 */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { submitCuration, type CurationSubmission } from '@xgen-small/data-curation';
import { TrainerError } from '../errors.js';
import { loadRecipe, resolvePlanPaths } from '../recipe/load-recipe.js';
import { minimumFreeBytes, RunFolder } from '../run/run-folder.js';
import { formatCount, formatTable } from '../terminal/format.js';
import { createProgressDisplay } from '../terminal/progress-display.js';
import { quoteForShell } from '../terminal/quote-for-shell.js';

export interface ClusterSubmitOptions {
  output?: string;
  tasks?: number;
  workers?: number;
  sbatch: readonly string[];
}

export async function clusterSubmitCommand(
  recipeName: string,
  options: ClusterSubmitOptions,
  signal: AbortSignal,
): Promise<void> {
  const { recipe, baseFolder } = await loadRecipe(recipeName);
  const display = createProgressDisplay(process.stdout);
  const run = await RunFolder.open(options.output ?? join('runs', recipe.name), recipe, {
    resume: true,
    minimumFreeBytes,
  });
  try {
    const submission = await submitCuration(resolvePlanPaths(recipe, baseFolder), {
      outputFolder: run.folder('curate'),
      command: [process.execPath, ownProgram(), 'cluster', 'task'],
      tasks: options.tasks,
      workers: options.workers,
      sbatchOptions: options.sbatch,
      signal,
      onProgress: (event) => display.update(event),
    });
    display.finish();
    const folder = quoteForShell(relative(process.cwd(), run.path) || '.');
    const next = `xgen run ${quoteForShell(recipeName)} -o ${folder}`;
    for (const line of submissionLines(submission, folder, next)) display.line(line);
  } catch (error) {
    display.finish();
    if (signal.aborted && !TrainerError.isInstance(error)) throw signal.reason;
    throw error;
  } finally {
    await run.close();
  }
}

function submissionLines({ finished, jobs, outputFolder, runId }: CurationSubmission, folder: string, next: string) {
  if (finished !== undefined) {
    const documents = finished.shards.reduce((sum, shard) => sum + shard.documents, 0);
    return [
      `The curation in ${outputFolder} is finished (${formatCount(documents)} documents); nothing was submitted.`,
      `Go on with: ${next}`,
    ];
  }
  const tasks = jobs.reduce((sum, job) => sum + job.tasks.length, 0);
  return [
    `Submitted ${jobs.length} jobs with ${tasks} tasks (run ${runId}) for ${outputFolder}:`,
    formatTable([['stage', 'job', 'tasks'], ...jobs.map((job) => [job.stage, job.jobId, String(job.tasks.length)])]),
    `How they are: xgen cluster status ${folder}`,
    `When they are done: ${next}`,
  ];
}

/** The program that batch scripts call: not how it was called now, which may be a link that only this machine has. */
function ownProgram(): string {
  // Built code and source lie at different depths.
  const [built, source] = ['../bin/xgen.mjs', '../../bin/xgen.mjs'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  return existsSync(built) ? built : source;
}
