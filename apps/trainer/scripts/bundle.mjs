#!/usr/bin/env node
// Gathers `xgen` into one folder that runs without npm, for machines that have nothing: run after a build.
//
//   node scripts/bundle.mjs [--output build/bundle] [--with-curation] [--cuda-addon <file>] [--pack] [--with-node] [--run <run folder>]
//
// <output>/xgen is the program: bin/, dist/ (JavaScript in a few files, the workers, the chat page) and build/ (the addons), laid out so that
// each part is found where its package looks for it. --with-curation adds DuckDB (68 MB), which the stage `curate` alone needs.
// --cuda-addon takes another file as xgen_cuda.node than the one in packages/kernels/build: the emulated device's, in tests.
//
// --pack packs it for the way (with xz, which has to be installed here): <output> then holds xgen.tar.xz and unpack.sh, which needs a shell, tar,
// and xz or Python. --with-node adds node.xz, this Node without its debugging symbols; --run adds run.tar.xz, the run folder as it stands. What an
// earlier call left in <output> and this one does not make anew stays: a changed program need not pack Node again.
//
//   sh <output>/unpack.sh <folder>         makes <folder>/xgen, <folder>/node and <folder>/run
//   <folder>/node <folder>/xgen/bin/xgen.mjs run <recipe> --output <folder>/run
//
// Costs ten seconds, a minute more for Node and another for a run of a hundred megabytes.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'tsup';

const trainer = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const packages = resolve(trainer, '../../packages');
const kernels = join(packages, 'kernels');
const { values: options } = parseArgs({
  options: {
    output: { type: 'string', default: join(trainer, 'build', 'bundle') },
    pack: { type: 'boolean', default: false },
    'with-node': { type: 'boolean', default: false },
    'with-curation': { type: 'boolean', default: false },
    'cuda-addon': { type: 'string', default: join(kernels, 'build', 'xgen_cuda.node') },
    run: { type: 'string' },
  },
});
const output = resolve(options.output);
const program = join(output, 'xgen');
const cudaAddon = resolve(options['cuda-addon']);
const run = options.run === undefined ? undefined : resolve(options.run);

/** Where tools outside the bundle's JavaScript are loaded from: real packages, copied whole. */
const packagesToCopy = [
  { name: 'jiti', from: trainer }, // reads recipes in TypeScript, and loads its compiler by path
  ...(options['with-curation']
    ? [
        { name: '@duckdb/node-api', from: join(packages, 'data-curation') },
        { name: '@duckdb/node-bindings', through: '@duckdb/node-api' },
        { name: `@duckdb/node-bindings-${process.platform}-${process.arch}`, through: '@duckdb/node-bindings' },
      ]
    : []),
];

rmSync(program, { recursive: true, force: true });
mkdirSync(program, { recursive: true });
await bundleJavaScript();
copyProgramFiles();
if (options.pack || options['with-node'] || run !== undefined) pack();
console.log(`written to ${output}`);

async function bundleJavaScript() {
  // tsup writes nothing, and says so to nobody, where it runs outside of a package.
  process.chdir(trainer);
  // Workers are started by path, beside the code that starts them.
  const worker = (folder, name) => ({ [name]: join(packages, folder, 'dist', `${name}.js`) });
  await build({
    config: false,
    silent: true,
    entry: {
      cli: join(trainer, 'src/cli.ts'),
      index: join(trainer, 'src/index.ts'),
      ...worker('data-curation', 'curation-worker'),
      ...worker('tokenizer', 'encode-worker'),
      ...worker('tokenizer', 'count-worker'),
      ...worker('tokenizer', 'corpus-worker'),
    },
    outDir: join(program, 'dist'),
    format: ['esm'],
    platform: 'node',
    target: 'node20',
    splitting: true,
    // The WebAssembly backend needs files beside its code: where no addon loads, plain JavaScript is left.
    external: [/^@duckdb\//, 'jiti', '@tensorflow/tfjs-backend-wasm'],
    // tsup lets this one win over the one above.
    noExternal: [/^(?!@duckdb\/|jiti$|@tensorflow\/tfjs-backend-wasm$)/],
    tsconfig: join(trainer, 'tsconfig.json'),
    // CommonJS packages inside ask for Node's own modules, and for the names of their files.
    banner: {
      js: [
        "import { createRequire as createRequireOf } from 'node:module';",
        "import { dirname as dirnameOf } from 'node:path';",
        "import { fileURLToPath as pathOfUrl } from 'node:url';",
        'const require = createRequireOf(import.meta.url), __filename = pathOfUrl(import.meta.url), __dirname = dirnameOf(__filename);',
      ].join(' '),
    },
  });
}

function copyProgramFiles() {
  const manifest = JSON.parse(readFileSync(join(trainer, 'package.json'), 'utf8'));
  const { name, version, license, type } = manifest;
  writeFileSync(join(program, 'package.json'), `${JSON.stringify({ name, version, license, type }, null, 2)}\n`);
  cpSync(join(trainer, 'bin'), join(program, 'bin'), { recursive: true });
  cpSync(join(packages, 'serve', 'dist', 'chat-page.html'), join(program, 'dist', 'chat-page.html'));
  // By this file, beside a package.json, the kernels know the folder whose build/ holds the addons.
  cpSync(join(kernels, 'CMakeLists.txt'), join(program, 'CMakeLists.txt'));
  for (const [file, addon] of [
    [join(kernels, 'build', 'xgen_native.node'), 'xgen_native.node'],
    [cudaAddon, 'xgen_cuda.node'],
  ]) {
    if (existsSync(file)) cpSync(file, join(program, 'build', addon));
    else console.warn(`Without ${addon}: ${file} does not exist (scripts/build-native.mjs in packages/kernels).`);
  }
  const found = new Map();
  for (const { name: dependency, from, through } of packagesToCopy) {
    const folder = packageFolder(dependency, from ?? found.get(through));
    found.set(dependency, folder);
    cpSync(folder, join(program, 'node_modules', dependency), { recursive: true, dereference: true });
  }
}

/** The folder of a package as one in `from` finds it. */
function packageFolder(name, from) {
  const places = createRequire(join(from, 'package.json')).resolve.paths(name) ?? [];
  const place = places.find((folder) => existsSync(join(folder, name, 'package.json')));
  if (place === undefined) throw new Error(`${name} is not installed where ${from} looks for it.`);
  return execFileSync('realpath', [join(place, name)], { encoding: 'utf8' }).trim();
}

function pack() {
  packFolder(output, 'xgen', 'xgen.tar.xz');
  rmSync(program, { recursive: true });
  if (run !== undefined) {
    // Tokens are 16-bit numbers, and generated documents repeat curated ones from far away.
    packFolder(dirname(run), basename(run), 'run.tar.xz', ['--lzma2=preset=9,dict=128MiB,lc=0,lp=1,pb=1'], 'run');
  }
  if (options['with-node']) {
    const scratch = mkdtempSync(join(tmpdir(), 'xgen-bundle-'));
    try {
      const node = join(scratch, 'node');
      execFileSync('strip', ['-o', node, process.execPath]);
      writeFileSync(join(output, 'node.xz'), execFileSync('xz', ['-9', '-c', node], { maxBuffer: 2 ** 30 }));
    } finally {
      rmSync(scratch, { recursive: true });
    }
  }
  cpSync(join(trainer, 'scripts', 'unpack.sh'), join(output, 'unpack.sh'));
  for (const name of ['xgen.tar.xz', 'run.tar.xz', 'node.xz']) {
    const file = join(output, name);
    if (existsSync(file)) console.log(`${name}  ${(statSync(file).size / 2 ** 20).toFixed(1)} MiB`);
  }
}

/** Packs `folder`/`name`, under the name `as` inside; a run that another process holds stays what it is. */
function packFolder(folder, name, archive, compression = ['-9'], as = name) {
  const tar = ['-C', folder, '--exclude', `${name}/run.lock`, '--transform', `s,^${name},${as},`, '-cf', '-', name];
  const bytes = execFileSync('tar', tar, { maxBuffer: 2 ** 31 });
  writeFileSync(
    join(output, archive),
    execFileSync('xz', ['-T1', ...compression, '-c'], { input: bytes, maxBuffer: 2 ** 30 }),
  );
}
