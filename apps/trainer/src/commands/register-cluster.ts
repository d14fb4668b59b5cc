/** The command line of `xgen cluster`. */
import { Option, type Command } from 'commander';
import { interruptible } from '../terminal/interruptible.js';
import { collect, positiveInteger, wholeNumber } from '../terminal/option-values.js';
import type { ClusterSubmitOptions } from './cluster-submit.js';

const submitHelp = `
Slurm runs the curation as job arrays, one for each stage, into <folder>/curate: exactly where
xgen curate puts it, with the same bytes. Repository, recipe inputs and <folder> have to lie on storage
that every node shares. Submitted again, only what is missing runs.

  xgen cluster submit my-recipe.ts -o /shared/runs/mine --tasks 64 --sbatch --partition=cpu --sbatch --mem=3G
  xgen cluster status /shared/runs/mine
  xgen run my-recipe.ts -o /shared/runs/mine`;

const statusHelp = `
A table on a terminal, a line a fact elsewhere. Exit code: 0 finished, running or waiting; 1 stopped before its end.`;

export function addClusterCommands(program: Command, recipeHelp: string): void {
  const cluster = program
    .command('cluster')
    .description("curation on a Slurm cluster: submit a recipe's, see how it is");
  cluster
    .command('submit')
    .description('submit the curation of a recipe; again after a failure, what is missing')
    .argument('[recipe]', recipeHelp, 'quickstart')
    .option('-o, --output <folder>', 'the run folder (default: runs/<recipe name>)')
    .option('--tasks <number>', 'tasks of each job array (default: one for every 16 pieces of input)', positiveInteger)
    .option('--workers <number>', 'worker threads, and processors, of each task (default: 1)', positiveInteger)
    .addOption(
      new Option('--sbatch <option>', 'an option for every job, as sbatch takes it; may be given again')
        .argParser(collect)
        .default([], 'none'),
    )
    .addHelpText('after', submitHelp)
    .action((recipe: string, options: ClusterSubmitOptions) =>
      interruptible(async (signal) =>
        (await import('./cluster-submit.js')).clusterSubmitCommand(recipe, options, signal),
      ),
    );
  cluster
    .command('status')
    .description('what is done, runs, waits, failed (why, its log, how to run it again) or is missing')
    .argument('[folder]', 'the run folder', 'runs/quickstart')
    .addHelpText('after', statusHelp)
    .action(async (folder: string) => {
      process.exitCode = await (await import('./cluster-status.js')).clusterStatusCommand(folder);
    });
  cluster
    .command('task', { hidden: true })
    .description('one task of a submitted curation: for its batch scripts')
    .argument('<folder>', 'the folder of the curation')
    .argument('<runId>', 'the submission')
    .argument('<stage>', 'the stage')
    .argument('<task>', 'number of the task', wholeNumber)
    .action((folder: string, runId: string, stage: string, task: number) =>
      interruptible(async (signal) =>
        (await import('./cluster-task.js')).clusterTaskCommand(folder, runId, stage, task, signal),
      ),
    );
}
