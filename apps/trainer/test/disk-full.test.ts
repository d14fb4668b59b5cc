/**
 * A disk that fills up while the recipe `smoke` runs, at the beginning of one stage after the other. Each failure says what to do, and the
 * same command continues to the bytes of a run that always had room. Cost: some half a minute.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { cli, repository, reproducible, xgen, type RunJson } from './xgen.js';

const home = mkdtempSync(join(tmpdir(), 'xgen-disk-full-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** A mount of its own, gone with the process that made it: needs Linux and the right to mount. */
const mountable = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', home]).status === 0;
const where = mountable ? 'a tmpfs' : 'SKIPPED: a file system cannot be mounted here';

// $1 the folder to mount on, $2 where results go, $3 node, $4 the command.
const prepare = 'mount -t tmpfs -o size=600m none "$1" || exit 9\n';
const tooSmall = `${prepare}
mount -o remount,size=8m "$1" || exit 9
"$3" "$4" run smoke -o "$1/run" >"$2/small.out" 2>"$2/small.err"
echo $?
find "$1" -type f
`;
// As soon as a stage's folder is there, all the space that is left is taken until the run has ended.
const filling = `${prepare}
for stage in curate tokenize pretrain extend sft ppo; do
  "$3" "$4" run smoke -o "$1/run" >"$2/$stage.out" 2>"$2/$stage.err" &
  run=$!
  while [ ! -e "$1/run/$stage" ] && kill -0 $run 2>/dev/null; do sleep 0.01; done
  cat /dev/zero >"$1/filler" 2>/dev/null
  wait $run
  echo "$stage $?"
  rm "$1/filler"
done
"$3" "$4" run smoke -o "$1/run" >"$2/last.out" 2>"$2/last.err"
echo "last $?"
cp "$1/run/run.json" "$2/run.json"
`;

function inOwnMount(script: string): { output: string; results: string } {
  const disk = mkdtempSync(join(home, 'disk-'));
  const results = mkdtempSync(join(home, 'results-'));
  const { stdout, stderr, status } = spawnSync(
    'unshare',
    ['-m', 'bash', '-c', script, 'bash', disk, results, process.execPath, cli],
    { cwd: repository, encoding: 'utf8' },
  );
  expect(status, stderr).toBe(0);
  return { output: stdout.trim(), results };
}

describe.skipIf(!mountable)(`a disk that is full (${where})`, () => {
  it('is refused before anything is written', async () => {
    const { output, results } = inOwnMount(tooSmall);
    expect(output).toBe('1');
    expect(await readFile(join(results, 'small.err'), 'utf8')).toMatch(
      /has \d+ MiB free; this run needs about \d+ MiB/,
    );
  }, 120_000);

  it('stops any stage with a remedy; with room the same command ends with the same bytes', async () => {
    const { output, results } = inOwnMount(filling);
    const attempts = output.split('\n').map((line) => line.split(' '));
    expect(attempts.at(-1)).toEqual(['last', '0']);
    const failed = attempts.filter(([, code]) => code !== '0');
    expect(failed.length).toBeGreaterThan(3);
    for (const [stage, code] of failed) {
      expect(code).toBe('1');
      const message = await readFile(join(results, `${stage}.err`), 'utf8');
      expect(message, stage).toMatch(/disk is full|no space left|MiB free/i);
      expect(message, stage).toMatch(/What to do: .*space/);
    }
    const roomy = await xgen(['run', 'smoke', '-o', join(home, 'roomy')], repository);
    expect(roomy.code).toBe(0);
    const read = async (file: string): Promise<RunJson> => JSON.parse(await readFile(file, 'utf8')) as RunJson;
    expect(reproducible(await read(join(results, 'run.json')))).toEqual(
      reproducible(await read(join(home, 'roomy', 'run.json'))),
    );
  }, 600_000);
});
