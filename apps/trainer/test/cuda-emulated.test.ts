/**
 * The whole pipeline with `compute.backend: 'cuda'` on the emulated device, with the built command, against the same on `native`: losses step
 * by step, nothing left on the device, no operation on the CPU instead. Cost: half a minute on two cores.
 */
import { existsSync, realpathSync } from 'node:fs';
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Recipe } from '../src/recipe/recipe-schema.js';
import { stageIds } from '../src/run/stage-context.js';
import { tinyRecipe } from './tiny-recipe.js';
import { repository, startXgen, type Finished, type RunJson } from './xgen.js';

const kernels = realpathSync(dirname(createRequire(import.meta.url).resolve('@xgen-small/kernels/package.json')));
const addon = join(kernels, 'build', 'xgen_cuda_emulated.node');
const built = existsSync(addon);
if (!built) {
  console.warn(
    'Skipped: the emulated CUDA addon is not built (node packages/kernels/scripts/build-native.mjs --cuda-emulated).',
  );
}

interface Ended {
  tensors: number;
  /** What is still on the device, by what made it. */
  held: string[];
  peakLiveBytes: number;
  warnings: string[];
}
type Row = Record<string, number>;

/** What the backend keeps for itself as long as it lives. */
const backendsOwn = /^(error flags|matrix products' workspace|paged attention's counters)$/;

const precisions = [
  { matmulPrecision: 'float32', loss: 1e-4, gradientNorm: 1e-3 },
  { matmulPrecision: 'bfloat16', loss: 1e-2, gradientNorm: 0.1 },
] as const;

describe.skipIf(!built)('xgen on the emulated GPU', () => {
  let home: string;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'xgen-cuda-'));
    const staged = join(home, 'kernels');
    await mkdir(join(staged, 'build'), { recursive: true });
    for (const name of ['package.json', 'CMakeLists.txt']) await copyFile(join(kernels, name), join(staged, name));
    await cp(join(kernels, 'dist'), join(staged, 'dist'), { recursive: true });
    await copyFile(addon, join(staged, 'build', 'xgen_cuda.node'));
    const runs = [
      start('native', { backend: 'native', threads: 1 }),
      ...precisions.map(({ matmulPrecision }) => start(matmulPrecision, { backend: 'cuda', matmulPrecision })),
    ];
    for (const { code, stderr } of await Promise.all(runs)) expect([code, stderr]).toEqual([0, '']);
  });
  afterAll(() => rm(home, { recursive: true, force: true }));

  function emulated(report: string): { node: string[]; env: Record<string, string> } {
    return {
      node: ['--import', pathToFileURL(join(import.meta.dirname, 'emulated-cuda.mjs')).href],
      env: { EMULATED_KERNELS: join(home, 'kernels'), EMULATED_ORIGINAL: kernels, EMULATED_REPORT: join(home, report) },
    };
  }

  async function start(name: string, compute: Partial<Recipe['compute']>): Promise<Finished> {
    const recipe = join(home, `${name}.json`);
    await writeFile(recipe, JSON.stringify(tinyRecipe(compute)));
    const device = compute.backend === 'cuda' ? emulated(`${name}.report.json`) : undefined;
    return startXgen(['run', recipe, '-o', join(home, name), '--log-level', 'quiet'], repository, device).done;
  }

  const json = async <T>(file: string): Promise<T> => JSON.parse(await readFile(join(home, file), 'utf8')) as T;
  const rows = async (file: string): Promise<Row[]> =>
    (await readFile(join(home, file), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Row);

  /** The largest relative difference of a metric between a run and `native`, over all steps. */
  async function difference(name: string, stage: string, metric: string): Promise<number> {
    const [ours, theirs] = [await rows(`${name}/${stage}/metrics.jsonl`), await rows(`native/${stage}/metrics.jsonl`)];
    expect(ours.length).toBe(theirs.length);
    return Math.max(...ours.map((row, i) => Math.abs(row[metric] - theirs[i][metric]) / Math.abs(theirs[i][metric])));
  }

  describe.each(precisions)('in $matmulPrecision', ({ matmulPrecision, ...tolerance }) => {
    it('goes through every stage on the device, falls back nowhere and leaves nothing there', async () => {
      const run = await json<RunJson & { environment: { backend: string } }>(`${matmulPrecision}/run.json`);
      expect(run.environment.backend).toBe('cuda');
      expect(Object.keys(run.stages)).toEqual([...stageIds]);
      const ended = await json<Ended>(`${matmulPrecision}.report.json`);
      expect(ended).toMatchObject({ tensors: 0, warnings: [] });
      expect(ended.held.filter((name) => !backendsOwn.test(name))).toEqual([]);
      expect(ended.peakLiveBytes).toBeGreaterThan(100_000);
    });

    it.each(['pretrain/broad', 'pretrain/anneal', 'extend/longer', 'sft/run'])(
      'trains %s as native does, step by step',
      async (stage) => {
        expect(await difference(matmulPrecision, stage, 'loss')).toBeLessThan(tolerance.loss);
        expect(await difference(matmulPrecision, stage, 'gradientNorm')).toBeLessThan(tolerance.gradientNorm);
      },
    );

    it('samples with the probabilities that it trains with, and PPO moves the policy', async () => {
      for (const row of await rows(`${matmulPrecision}/ppo/seed-1/metrics.jsonl`)) {
        expect(row.logProbabilityMismatch).toBeLessThan(matmulPrecision === 'float32' ? 1e-4 : 0.1);
        expect(row.gradientNorm).toBeGreaterThan(0);
        expect(row.valueGradientNorm).toBeGreaterThan(0);
      }
    });
  });

  it('samples the same answers in float32, and trains on them as native does', async () => {
    const preferences = async (name: string): Promise<string[]> =>
      (await readFile(join(home, name, 'dpo', 'preferences.jsonl'), 'utf8')).split('\n');
    const [ours, theirs] = [await preferences('float32'), await preferences('native')];
    const same = ours.filter((pair) => theirs.includes(pair)).length;
    // A probability beside a random number, closer than the two roundings, gives another token: rare, and no fault.
    expect(same).toBeGreaterThan(0.8 * theirs.length);
    if (same !== theirs.length || ours.length !== theirs.length) return;
    expect(await difference('float32', 'dpo/run', 'loss')).toBeLessThan(1e-4);
    for (const metric of ['gradientNorm', 'valueGradientNorm', 'entropy'])
      expect(await difference('float32', 'ppo/seed-1', metric)).toBeLessThan(1e-3);
  });

  it('serves a run on the device that its recipe names, or on another one', async () => {
    for (const [args, name] of [
      [[], 'cuda'],
      [['--backend', 'cpu'], 'cpu'],
    ] as const) {
      const { child, done } = startXgen(
        ['serve', join(home, 'bfloat16'), '--port', '0', ...args],
        repository,
        emulated('serve.report.json'),
      );
      const [, backend, url] = await new Promise<RegExpExecArray>((found, failed) => {
        let text = '';
        child.stdout!.on('data', (chunk: string) => {
          text += chunk;
          const match = / on (\w+): .*OpenAI API at (\S+)/.exec(text);
          if (match) found(match);
        });
        void done.then(({ stderr }) => failed(new Error(stderr)));
      });
      expect(backend).toBe(name);
      const answer = await fetch(`${url}/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'xgen-small-tiny', prompt: 'Tom has 3', max_tokens: 4, logprobs: 3 }),
      });
      const body = (await answer.json()) as { usage?: { completion_tokens: number } };
      expect(body.usage?.completion_tokens).toBeGreaterThan(0);
      child.kill('SIGINT');
      expect((await done).code).toBe(0);
      const ended = await json<Ended>('serve.report.json');
      expect(ended).toMatchObject({ tensors: 0, warnings: [] });
      expect(ended.held.filter((one) => !backendsOwn.test(one))).toEqual([]);
    }
  });
});
