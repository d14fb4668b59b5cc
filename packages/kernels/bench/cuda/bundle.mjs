#!/usr/bin/env node
// Gathers everything the GPU benchmark needs into one folder that runs without npm: the programs with their dependencies in one file each,
// the addon's sources, its build script and Node's headers. Run after a build.
//
//   node bench/cuda/bundle.mjs [--output build/cuda-bench] [--with-node] [--with-addon]
//
// --with-node adds this Node itself (gzip), for machines that have none; --with-addon the CUDA addon as it was built here (scripts/
// build-native.mjs --cuda), so that nothing is compiled there. Then copy the folder there and start run.sh.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'tsup';
import { describeEnvironment } from '../../../../tooling/bench/benchmark.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const { values: options } = parseArgs({
  options: {
    output: { type: 'string', default: join(root, 'build', 'cuda-bench') },
    'with-node': { type: 'boolean', default: false },
    'with-addon': { type: 'boolean', default: false },
  },
});
const output = resolve(options.output);

rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
await build({
  config: false,
  silent: true,
  entry: {
    'cuda-bench': join(root, 'bench/cuda/bench.mjs'),
    'cuda-conformance': join(root, 'bench/cuda/conformance.ts'),
    'cuda-attention': join(root, 'bench/cuda/attention.mjs'),
    'cuda-parity': join(root, 'bench/cuda/parity/parity.mjs'),
  },
  outDir: output,
  format: ['esm'],
  platform: 'node',
  target: 'node20',
  splitting: false,
  noExternal: [/.*/],
  tsconfig: join(root, 'tsconfig.json'),
  // CommonJS packages inside ask for Node's own modules.
  banner: {
    js: "import { createRequire as createRequireOf } from 'node:module'; const require = createRequireOf(import.meta.url);",
  },
});
for (const part of ['native', 'scripts', 'CMakeLists.txt', 'LICENSE'])
  cpSync(join(root, part), join(output, part), { recursive: true });
cpSync(join(root, 'bench/cuda/run.sh'), join(output, 'run.sh'));
cpSync(join(root, 'bench/cuda/peers'), join(output, 'peers'), { recursive: true });
writeFileSync(join(output, 'package.json'), '{ "type": "module" }\n');
const { commit, uncommittedChanges } = describeEnvironment({ folder: root });
writeFileSync(join(output, 'bundle.json'), `${JSON.stringify({ commit, uncommittedChanges })}\n`);
const headers = createRequire(join(root, 'package.json')).resolve('node-api-headers/package.json');
cpSync(dirname(headers), join(output, 'node_modules/node-api-headers'), { recursive: true, dereference: true });
if (options['with-addon'])
  cpSync(join(root, 'build/xgen_cuda.node'), join(output, 'build/xgen_cuda.node'), { recursive: true });
if (options['with-node']) writeFileSync(join(output, 'node.gz'), gzipSync(readFileSync(process.execPath)));
console.log(`written to ${output}`);
