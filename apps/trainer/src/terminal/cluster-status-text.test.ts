import type { CurationStatus } from '@xgen-small/data-curation';
import { describe, expect, it } from 'vitest';
import { clusterStatusLines, clusterStatusTable } from './cluster-status-text.js';

const status: CurationStatus = {
  outputFolder: '/shared/run/curate',
  runId: '1a2b3c4d',
  state: 'stopped',
  stages: [
    { name: 'extract', tasks: 12, done: 10, running: 0, waiting: 0, failed: 2, missing: 0 },
    { name: 'duplicates', tasks: 1, done: 0, running: 0, waiting: 0, failed: 0, missing: 1 },
  ],
  failed: [
    {
      stage: 'extract',
      task: 3,
      node: 'n7',
      reason: 'The input file /in/3.jsonl cannot be read.\nPut it back. [INPUT_NOT_FOUND]',
      log: '/shared/run/logs/extract-3.log',
      restart: 'sbatch --array=3 /shared/run/extract.sbatch',
    },
    {
      stage: 'extract',
      task: 4,
      node: undefined,
      reason: 'ended without a word',
      log: '/shared/run/logs/extract-4.log',
      restart: 'sbatch --array=4 /shared/run/extract.sbatch',
    },
  ],
};

describe('clusterStatusTable', () => {
  it('shows stages, failures and what to type', () => {
    expect(clusterStatusTable(status, 'xgen cluster submit <recipe> -o run')).toBe(
      `Curation in /shared/run/curate (run 1a2b3c4d): stopped before its end

  stage       tasks  done  running  waiting  failed  missing
  extract        12    10        ·        ·       2        ·
  duplicates      1     ·        ·        ·       ·        1

Failed:
  extract 3 on n7: The input file /in/3.jsonl cannot be read.
Put it back. [INPUT_NOT_FOUND]
    log      /shared/run/logs/extract-3.log
    restart  sbatch --array=3 /shared/run/extract.sbatch
  extract 4: ended without a word
    log      /shared/run/logs/extract-4.log
    restart  sbatch --array=4 /shared/run/extract.sbatch

Nothing is waiting or running. To run what is missing: xgen cluster submit <recipe> -o run`,
    );
  });

  it('says how many failures it leaves out', () => {
    const many = { ...status, failed: Array.from({ length: 30 }, (_, task) => ({ ...status.failed[0], task })) };
    expect(clusterStatusTable(many, '')).toMatch(/ {2}and 10 more/);
    expect(clusterStatusLines(many).match(/^failed /gm)).toHaveLength(30);
  });

  it('says when it is finished', () => {
    const finished = { ...status, runId: undefined, state: 'finished', stages: [], failed: [] } as const;
    expect(clusterStatusTable({ ...finished, stages: [], failed: [] }, '')).toMatch(/is finished/);
  });
});

describe('clusterStatusLines', () => {
  it('gives a line a fact', () => {
    expect(clusterStatusLines(status).split('\n')).toEqual([
      'curation stopped run 1a2b3c4d in /shared/run/curate',
      'stage extract tasks 12 done 10 running 0 waiting 0 failed 2 missing 0',
      'stage duplicates tasks 1 done 0 running 0 waiting 0 failed 0 missing 1',
      'failed extract 3 on n7: The input file /in/3.jsonl cannot be read. Put it back. [INPUT_NOT_FOUND]',
      '  log /shared/run/logs/extract-3.log',
      '  restart sbatch --array=3 /shared/run/extract.sbatch',
      'failed extract 4: ended without a word',
      '  log /shared/run/logs/extract-4.log',
      '  restart sbatch --array=4 /shared/run/extract.sbatch',
    ]);
  });
});
