/** `xgen run` and the commands of single stages. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { TrainerError } from '../errors.js';
import type { BackendChoice } from '../recipe/backend-names.js';
import { loadRecipe } from '../recipe/load-recipe.js';
import { writeReport } from '../report/write-report.js';
import { estimateRun } from '../run/estimate.js';
import { describeMachine } from '../run/environment.js';
import { runPipeline } from '../run/pipeline.js';
import { minimumFreeBytes, RunFolder } from '../run/run-folder.js';
import { startNamedBackend } from '../run/start-backend.js';
import { needsBackend, stageIds, type StageId } from '../run/stage-context.js';
import { formatDuration } from '../terminal/format.js';
import { createProgressDisplay } from '../terminal/progress-display.js';
import { chatCommandFor } from './chat-command.js';

export interface RunCommandOptions {
  output?: string;
  backend?: BackendChoice;
  resume: boolean;
  logLevel: 'quiet' | 'info' | 'debug';
  only?: StageId;
}

export async function runCommand(recipeName: string, options: RunCommandOptions, signal: AbortSignal): Promise<void> {
  const { recipe, baseFolder } = await loadRecipe(recipeName, { backend: options.backend });
  const quiet = options.logLevel === 'quiet';
  const display = createProgressDisplay(process.stdout, quiet);
  const say = (text: string): void => {
    if (!quiet) display.line(text);
  };
  const folder = options.output ?? join('runs', recipe.name);
  const run = await RunFolder.open(folder, recipe, { resume: options.resume, minimumFreeBytes });
  try {
    const remaining = options.only ? [options.only] : stageIds.filter((id) => !run.stage(id));
    const machine = describeMachine();
    say(`xgen ${recipe.name}: ${recipe.description}`);
    const here = `${machine.processor}, ${machine.cores} cores, Node ${machine.node}`;
    if (needsBackend(remaining)) {
      const backend = await startNamedBackend(recipe.compute).catch(async (error: unknown) => {
        await run.discardUnbegun();
        throw error;
      });
      say(`  ${here}; backend ${backend.name} (${backend.reason})`);
      for (const warning of backend.warnings) say(`  Warning: ${warning}`);
      await run.setEnvironment({ ...machine, backend: backend.name, backendReason: backend.reason });
    } else {
      say(`  ${here}`);
      // The report's machine is the one that trained.
      if (run.current.environment.backend === undefined) await run.setEnvironment({ ...machine });
    }
    if (remaining.length > 0 && !quiet) {
      const estimate = await estimateRun(recipe, remaining);
      if (estimate) {
        say(
          `  ${Math.round(estimate.tokensPerSecond).toLocaleString('en')} training tokens/s here: about ${formatDuration(estimate.trainingSeconds)} of training, ${formatDuration(estimate.totalSeconds)} in all`,
        );
      }
    }
    say(`  Run folder: ${run.path}`);
    await runPipeline({
      run,
      recipe,
      baseFolder,
      only: options.only,
      signal,
      display,
      workers: Math.min(8, availableParallelism()),
    });
    if (options.only === undefined || run.stage('eval')) {
      const report = await writeReport(run.path);
      say(`\n${report.table}`);
      say(`\nReport: ${report.path}`);
      say(`Chat with the model: ${chatCommandFor(run.path)}`);
    }
  } catch (error) {
    display.finish();
    if (signal.aborted && !(error instanceof TrainerError)) throw signal.reason;
    throw error;
  } finally {
    await run.close();
  }
}
