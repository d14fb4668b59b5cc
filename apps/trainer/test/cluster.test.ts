/**
 * `xgen cluster`, from submission to the next stage: with commands that only note what is submitted, whose scripts this test then runs,
 * and, where Slurm is installed, on a controller and two node daemons. Both end with the bytes of `xgen curate` and `xgen tokenize`.
 */
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  missingPrograms,
  nodeNames,
  SlurmCluster,
} from '../../../packages/data-curation/test/cluster/slurm-cluster.js';
import { runProgram, SlurmStub } from '../../../packages/data-curation/test/cluster/slurm-stub.js';
import { code, prose } from '../../../packages/data-curation/test/corpus.js';
import { smoke } from '../src/recipes/smoke.js';
import { reproducible, xgen, type RunJson } from './xgen.js';

const files = 5;
let home: string;
const input = (file: number): string => join(home, 'input', `${file}.jsonl`);

async function readRun(folder: string): Promise<RunJson> {
  return JSON.parse(await readFile(join(home, folder, 'run.json'), 'utf8')) as RunJson;
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "xgen it's a cluster-"));
  await mkdir(join(home, 'input'));
  for (let file = 0; file < files; file++) {
    const texts = Array.from({ length: 40 }, (_, index) =>
      index % 3 === 0 ? code(file * 40 + index) : prose(file * 40 + index, 10),
    );
    await writeFile(input(file), texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  }
  const recipe = {
    ...smoke,
    name: 'clustered',
    curation: {
      sources: [
        ...Array.from({ length: files }, (_, file) => ({
          type: 'jsonl',
          name: `s${file}`,
          // Relative to the recipe, wherever a node begins.
          path: `input/${file}.jsonl`,
        })),
        { type: 'mathProblems', name: 'maths', documents: 60, difficulty: [1], heldoutFraction: 0.05 },
      ],
      heldout: { fraction: 0.1 },
      output: { shardBytes: 60_000 },
    },
  };
  await writeFile(join(home, 'recipe.json'), JSON.stringify(recipe));
  for (const command of ['curate', 'tokenize']) {
    expect(await xgen([command, 'recipe.json', '-o', 'local'], home)).toMatchObject({ code: 0, stderr: '' });
  }
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe('xgen cluster', () => {
  it('submits what is missing, says how it is, and leaves a run that goes on as after xgen curate', async () => {
    const stub = await SlurmStub.install(await mkdtemp(join(tmpdir(), 'stub-')));
    const onNode = (script: string, task?: number) =>
      runProgram(['bash', script], {
        environment: {
          SLURM_JOB_ID: '1',
          SLURMD_NODENAME: 'n7',
          ...(task === undefined ? {} : { SLURM_ARRAY_TASK_ID: String(task) }),
        },
      });
    const submit = () =>
      xgen(
        [
          ...['cluster', 'submit', 'recipe.json', '-o', 'remote', '--tasks', '3', '--workers', '2'],
          ...['--sbatch', '--partition=cpu', '--sbatch', '--comment=a "b" c'],
        ],
        home,
      );
    const status = () => xgen(['cluster', 'status', 'remote'], home);
    try {
      const nothing = await status();
      expect(nothing).toMatchObject({ code: 2, stdout: '' });
      expect(nothing.stderr).toMatch(/CLUSTER_RUN_NOT_FOUND[\s\S]*xgen cluster submit/);

      const first = await submit();
      expect(first).toMatchObject({ code: 0, stderr: '' });
      expect(first.stdout).toMatch(/Submitted 5 jobs with 9 tasks/);
      expect(first.stdout).toMatch(/xgen run recipe\.json -o remote/);
      const [extract, duplicates] = await stub.takeSubmitted();
      expect(extract.array).toBe('0-2');
      const text = await readFile(extract.script, 'utf8');
      expect(text).toContain('#SBATCH --cpus-per-task=2\n#SBATCH --partition=cpu\n#SBATCH "--comment=a \\"b\\" c"\n');

      expect(await xgen(['tokenize', 'recipe.json', '-o', 'remote'], home)).toMatchObject({ code: 2 });
      const local = await xgen(['curate', 'recipe.json', '-o', 'remote'], home);
      expect(local.code).toBe(1);
      expect(local.stderr).toMatch(/CLUSTER_RUN_ACTIVE[\s\S]*xgen cluster status/);

      await rename(input(1), `${input(1)}.away`);
      const ended = await Promise.all([0, 1, 2].map((task) => onNode(extract.script, task)));
      await rename(`${input(1)}.away`, input(1));
      expect(ended.map(({ code }) => code).sort()).toEqual([0, 0, 2]);
      const lost = ended.findIndex(({ code }) => code !== 0);
      expect(ended[lost].printed).toMatch(/1\.jsonl cannot be read[\s\S]*What to do/);
      const stopped = await status();
      expect(stopped.code).toBe(1);
      expect(stopped.stdout).toMatch(/^curation stopped run [0-9a-f]{8} in .*remote\/curate$/m);
      expect(stopped.stdout).toMatch(/^stage extract tasks 3 done 2 running 0 waiting 0 failed 1 missing 0$/m);
      expect(stopped.stdout).toMatch(/^stage finish tasks 1 done 0 running 0 waiting 0 failed 0 missing 1$/m);
      expect(stopped.stdout).toMatch(new RegExp(`^failed extract ${lost} on n7: .*1\\.jsonl`, 'm'));

      const restart = /^ {2}restart (.*)$/m.exec(stopped.stdout)![1];
      expect(await runProgram(['bash', '-c', restart])).toMatchObject({ code: 0 });
      const [again] = await stub.takeSubmitted();
      expect(again).toMatchObject({ array: String(lost), script: extract.script });
      expect(await onNode(again.script, lost)).toMatchObject({ code: 0, printed: '' });
      await stub.setQueue([
        `${/--job-name=(.*)/.exec(await readFile(duplicates.script, 'utf8'))![1]}|N/A|2|RUNNING|n7|None`,
      ]);
      const active = await status();
      expect(active.code).toBe(0);
      expect(active.stdout).toMatch(/^stage duplicates tasks 1 done 0 running 1 /m);
      expect((await submit()).stderr).toMatch(/CLUSTER_RUN_ACTIVE/);
      await stub.setQueue([]);

      expect((await submit()).stdout).toMatch(/Submitted 4 jobs with 6 tasks/);
      for (const { script, array } of await stub.takeSubmitted()) {
        const tasks = array === undefined ? [undefined] : [0, 1, 2];
        for (const done of await Promise.all(tasks.map((task) => onNode(script, task)))) {
          expect(done).toMatchObject({ code: 0, printed: '' });
        }
      }
      expect(await status()).toMatchObject({ code: 0, stdout: expect.stringMatching(/^curation finished/) as string });
      const finished = await submit();
      expect(finished).toMatchObject({ code: 0, stdout: expect.stringContaining('nothing was submitted') as string });
      expect(await stub.takeSubmitted()).toEqual([]);

      const next = await xgen(['tokenize', 'recipe.json', '-o', 'remote'], home);
      expect(next).toMatchObject({ code: 0, stderr: '' });
      expect(next.stdout).toMatch(/\[1\/8\] Curate text\n[\s\S]*\[2\/8\] Train the tokenizer/);
      expect(reproducible(await readRun('remote'))).toEqual(reproducible(await readRun('local')));
    } finally {
      await stub.remove();
    }
  });

  it.each([
    ['no tasks', ['--tasks', '0'], /whole number, 1 or more/, 2],
    ['an option that the jobs have already', ['--sbatch', '--array=0-9'], /--array=0-9/, 2],
    ['a machine without Slurm', [], /no command sbatch[\s\S]*xgen curate/, 1],
  ] as const)('refuses %s', async (_, options, message, exitCode) => {
    const path = process.env.PATH;
    process.env.PATH = join(home, 'nothing-here');
    try {
      const { code, stderr } = await xgen(['cluster', 'submit', 'recipe.json', '-o', 'refused', ...options], home);
      expect(stderr).toMatch(message);
      expect(code).toBe(exitCode);
    } finally {
      process.env.PATH = path;
    }
  });
});

const missing = missingPrograms();
if (missing.length > 0) console.warn(`skipped: no Slurm here (${missing.join(', ')} missing); .ci/run installs it`);

describe.skipIf(missing.length > 0)('xgen cluster on Slurm', () => {
  it('runs on two nodes to the bytes of the local commands', async () => {
    const slurmRoot = await mkdtemp(join(tmpdir(), 'slurm-'));
    const before = process.env.SLURM_CONF;
    const cluster = await SlurmCluster.start(slurmRoot);
    try {
      process.env.SLURM_CONF = cluster.environment.SLURM_CONF;
      for (const node of nodeNames) while ((await cluster.nodeState(node)) !== 'idle') await sleep(200);
      const submitted = await xgen(['cluster', 'submit', 'recipe.json', '-o', 'on-slurm', '--tasks', '2'], home);
      expect(submitted).toMatchObject({ code: 0, stderr: '' });
      let status = await xgen(['cluster', 'status', 'on-slurm'], home);
      while (!status.stdout.startsWith('curation finished')) {
        // On a busy machine the controller may be late to answer; the next question will do.
        if (!status.stderr.includes('[SLURM_FAILED]')) expect(status).toMatchObject({ code: 0, stderr: '' });
        await sleep(1500);
        status = await xgen(['cluster', 'status', 'on-slurm'], home);
      }
      expect(await xgen(['tokenize', 'recipe.json', '-o', 'on-slurm'], home)).toMatchObject({ code: 0, stderr: '' });
      expect(reproducible(await readRun('on-slurm'))).toEqual(reproducible(await readRun('local')));
    } catch (error) {
      console.error(await cluster.logs());
      throw error;
    } finally {
      await cluster.stop();
      if (before === undefined) delete process.env.SLURM_CONF;
      else process.env.SLURM_CONF = before;
      await rm(slurmRoot, { recursive: true, force: true });
    }
  }, 300_000);
});
