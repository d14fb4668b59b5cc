#!/usr/bin/env node
// Compares matrix products with OpenBLAS (where the system has it) on one thread and on all: shapes of a training step of `tiny`,
// decoding, and 1,024 cubed; float32 and bfloat16.
//
//   node bench/gemm.mjs [--rounds 15] [--variant NAME] [--openblas PATH] [--output FILE]
//
// Builds bench/gemm.cpp with the addon first. Writes bench/results/gemm.json (or FILE). About a minute on four cores. For another
// instruction set's OpenBLAS, set OPENBLAS_CORETYPE (Haswell for avx2).
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeEnvironment, printTable, writeResult } from '../../../tooling/bench/benchmark.mjs';

const folder = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    variant: { type: 'string', default: '' },
    openblas: { type: 'string' },
    output: { type: 'string', default: join(folder, 'bench', 'results', 'gemm.json') },
  },
});

const build = spawnSync(process.execPath, [join(folder, 'scripts', 'build-native.mjs'), '--bench'], {
  stdio: 'inherit',
});
if (build.status !== 0) process.exit(build.status ?? 1);
const program = ['xgen_gemm_bench', 'Release/xgen_gemm_bench']
  .map((name) => join(folder, 'build', 'cmake', name))
  .find(existsSync);

const runs = [...new Set([1, availableParallelism()])].map((threads) => {
  const variantAndLibrary = [options.variant, ...(options.openblas === undefined ? [] : [options.openblas])];
  const output = execFileSync(program, [String(threads), options.rounds, ...variantAndLibrary], { encoding: 'utf8' });
  const run = JSON.parse(output);
  console.log(
    `\n${run.variant}, ${threads} ${threads === 1 ? 'thread' : 'threads'}; ${run.openblas || 'no OpenBLAS found'}; GFLOP/s, best of ${run.rounds}`,
  );
  printTable([
    ['product', 'm', 'n', 'k', 'float32', 'OpenBLAS', 'ratio', 'bfloat16', 'ratio'],
    ...run.products.map(({ name, m, n, k, float32, bfloat16, openblas }) => [
      name,
      m,
      n,
      k,
      float32.gflops,
      openblas?.gflops ?? '-',
      openblas === undefined ? '-' : float32.gflops / openblas.gflops,
      bfloat16.gflops,
      bfloat16.gflops / float32.gflops,
    ]),
  ]);
  return run;
});
writeResult(options.output, {
  benchmark: 'gemm',
  command: `node bench/gemm.mjs ${process.argv.slice(2).join(' ')}`.trim(),
  ...describeEnvironment({ folder }),
  runs,
});
