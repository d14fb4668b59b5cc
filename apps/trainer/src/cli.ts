#!/usr/bin/env node
/**
 * `xgen`: the one place that parses a command line, reads the environment and prints. Each command's code
 * is loaded when it runs. Exit codes: 0 done, 1 failed,
 * 2 wrong input (a flag, a recipe, a folder of another run), 130 interrupted by Ctrl-C, 143 by SIGTERM.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { addClassifierCommands } from './commands/register-classifier.js';
import { addClusterCommands } from './commands/register-cluster.js';
import type { RunCommandOptions } from './commands/run.js';
import { explainError } from './terminal/explain-error.js';
import { interruptible } from './terminal/interruptible.js';
import { ownVersion } from './run/environment.js';
import { backendChoices, backendNames } from './recipe/backend-names.js';
import { builtInRecipeNames } from './recipes/index.js';
import { stageIds } from './run/stage-context.js';

const logLevels = ['quiet', 'info', 'debug'] as const;

function port(value: string): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0 || number > 65_535) {
    throw new InvalidArgumentError('a port is a whole number from 0 to 65535');
  }
  return number;
}

const outputOption = () => new Option('-o, --output <folder>', 'the run folder (default: runs/<recipe name>)');
const logLevelOption = () =>
  new Option('--log-level <level>', 'how much is printed').choices(logLevels).default('info');

const program = new Command('xgen')
  .description('Small long-context language models, from raw text to a running endpoint')
  .version(ownVersion())
  .exitOverride()
  .showHelpAfterError('(xgen --help lists the commands)');

const recipeHelp = `a built-in recipe (${builtInRecipeNames.join(', ')}) or a .ts, .js or .json file`;

function addRunCommand(name: string, description: string, only?: (typeof stageIds)[number]): void {
  program
    .command(name)
    .description(description)
    .argument('[recipe]', recipeHelp, 'quickstart')
    .addOption(outputOption())
    .addOption(
      new Option('--backend <name>', "what to compute on, in place of the recipe's compute.backend").choices(
        backendChoices,
      ),
    )
    .option('--no-resume', 'refuse a folder that already holds a run, instead of continuing it')
    .addOption(logLevelOption())
    .action((recipe: string, options: RunCommandOptions) =>
      interruptible(async (signal) =>
        (await import('./commands/run.js')).runCommand(recipe, { ...options, only }, signal),
      ),
    );
}

addRunCommand('run', 'run a recipe from text to model and report; a rerun continues where it stopped');
const stageDescriptions: Record<(typeof stageIds)[number], string> = {
  curate: 'sources, filters, deduplication, domains, mixture',
  tokenize: 'train the tokenizer, write token shards',
  pretrain: 'pre-training in stages',
  extend: 'length extension',
  sft: 'supervised fine-tuning',
  dpo: 'direct preference optimization',
  ppo: 'online PPO with verified rewards',
  eval: 'losses, needle retrieval, maths accuracy',
};
for (const id of stageIds) addRunCommand(id, `only this stage of a recipe: ${stageDescriptions[id]}`, id);

addClusterCommands(program, recipeHelp);
addClassifierCommands(program);

program
  .command('report')
  .description("write a run's report.html and print its table")
  .argument('[folder]', 'the run folder', 'runs/quickstart')
  .action(async (folder: string) => (await import('./commands/report.js')).reportCommand(folder));

program
  .command('serve')
  .description("serve a run's final model (or any model folder) on an OpenAI-compatible endpoint with a chat page")
  .argument('[folder]', 'a run folder or a model folder', 'runs/quickstart')
  .option('-p, --port <port>', 'port on 127.0.0.1 (0 takes a free one)', port, 8080)
  .addOption(
    new Option('--backend <name>', "what to compute on (default: as the run's recipe says)").choices(backendNames),
  )
  .addOption(logLevelOption())
  .action((folder: string, options: { port: number; backend?: (typeof backendNames)[number]; logLevel: string }) =>
    interruptible(async (signal) => (await import('./commands/serve.js')).serveCommand(folder, options, signal)),
  );

program
  .command('doctor')
  .description('what this machine has, which backend will run, and why')
  .action(async () => (await import('./commands/doctor.js')).doctorCommand());

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const { text, exitCode } = explainError(error, process.argv.includes('debug'));
    if (text) process.stderr.write(`${text}\n`);
    process.exitCode = exitCode;
  }
}
// Native thread pools and worker threads have nothing left to do; waiting for their idle handles would only hang the shell.
process.exit();
