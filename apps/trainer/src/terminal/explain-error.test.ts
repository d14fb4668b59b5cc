import { CurationError } from '@xgen-small/data-curation';
import { describe, expect, it } from 'vitest';
import { TrainerError } from '../errors.js';
import { explainError } from './explain-error.js';

describe('explainError', () => {
  it('says the remedy once, whether or not the message ends with it', () => {
    const ours = explainError(new TrainerError('RUN_LOCKED', 'It is locked.', { remedy: 'Wait.' }));
    expect(ours).toEqual({ text: 'xgen: It is locked. [RUN_LOCKED]\n  What to do: Wait.', exitCode: 1 });
    const theirs = explainError(new CurationError('INPUT_NOT_FOUND', 'No file.', { remedy: 'Check the path.' }));
    expect(theirs).toEqual({ text: 'xgen: No file. [INPUT_NOT_FOUND]\n  What to do: Check the path.', exitCode: 2 });
  });

  it.each([
    ['SLURM_NOT_FOUND', /login node\. .*xgen curate/, 1],
    ['SLURM_FAILED', /login node\. .*same command again/, 1],
    ['CLUSTER_RUN_NOT_FOUND', /login node\. .*xgen cluster submit <recipe>/, 2],
    ['CLUSTER_RUN_ACTIVE', /login node\. .*xgen cluster status/, 1],
    ['CLUSTER_TASKS_MISSING', /login node\. .*xgen cluster status/, 1],
    ['PLAN_CHANGED', /login node\. .*xgen cluster submit/, 1],
    ['SOFTWARE_CHANGED', /login node\. .*on every node/, 1],
  ] as const)('adds to %s what to type', (code, text, exitCode) => {
    const explained = explainError(new CurationError(code, 'Something.', { remedy: 'Go to a login node.' }));
    expect(explained.text).toMatch(text);
    expect(explained.exitCode).toBe(exitCode);
  });

  it.each([
    ['Node', Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })],
    ['DuckDB', new Error('IO Error: Could not write file "a.parquet": No space left on device')],
  ])('says what to do about a full disk, in the words of %s', (_, error) => {
    const { text, exitCode } = explainError(error);
    expect(text).toContain(`the disk is full (${error.message})`);
    expect(text).toMatch(/What to do: free some space/);
    expect(text).not.toMatch(/\n +at /);
    expect(exitCode).toBe(1);
  });

  it('keeps the stack of what nobody expected', () => {
    expect(explainError(new TypeError('x is not a function')).text).toMatch(/x is not a function\n +at /);
  });
});
