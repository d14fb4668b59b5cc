/** The status of a curation on a cluster: a table for a person, or a line a fact for a program that reads it. */
import type { CurationStatus, CurationTaskState, FailedCurationTask } from '@xgen-small/data-curation';
import { formatTable } from './format.js';

const states: readonly CurationTaskState[] = ['done', 'running', 'waiting', 'failed', 'missing'];
/** More failures than this have the same few reasons. */
const shownFailures = 20;

/** For a terminal. `submitAgain` is what to type when the run has stopped. */
export function clusterStatusTable(status: CurationStatus, submitAgain: string): string {
  const { outputFolder, runId, state, stages, failed } = status;
  if (state === 'finished') return `The curation in ${outputFolder} is finished.`;
  const blocks = [
    `Curation in ${outputFolder} (run ${runId}): ${state === 'active' ? 'active' : 'stopped before its end'}`,
    formatTable([
      ['stage', 'tasks', ...states],
      ...stages.map((stage) => [
        stage.name,
        String(stage.tasks),
        ...states.map((name) => (stage[name] === 0 ? '·' : String(stage[name]))),
      ]),
    ]),
  ];
  if (failed.length > 0) {
    const entries = failed
      .slice(0, shownFailures)
      .map(({ log, restart, reason, ...task }) =>
        [`  ${nameOf(task)}: ${reason}`, `    log      ${log}`, `    restart  ${restart}`].join('\n'),
      );
    const rest = failed.length - entries.length;
    if (rest > 0) entries.push(`  and ${rest} more; the output of this command, written to a file, lists all`);
    blocks.push(['Failed:', ...entries].join('\n'));
  }
  if (state === 'stopped') {
    blocks.push(`Nothing is waiting or running. To run what is missing: ${submitAgain}`);
  }
  return blocks.join('\n\n');
}

/** For anything but a terminal: no columns to align, nothing left out. */
export function clusterStatusLines({ outputFolder, runId, state, stages, failed }: CurationStatus): string {
  const lines = [`curation ${state}${runId === undefined ? '' : ` run ${runId}`} in ${outputFolder}`];
  for (const stage of stages) {
    lines.push(`stage ${stage.name} tasks ${stage.tasks} ${states.map((name) => `${name} ${stage[name]}`).join(' ')}`);
  }
  for (const { log, restart, reason, ...task } of failed) {
    lines.push(`failed ${nameOf(task)}: ${oneLine(reason)}`, `  log ${log}`, `  restart ${restart}`);
  }
  return lines.join('\n');
}

function nameOf({ stage, task, node }: Pick<FailedCurationTask, 'stage' | 'task' | 'node'>): string {
  return `${stage} ${task}${node === undefined ? '' : ` on ${node}`}`;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ');
}
