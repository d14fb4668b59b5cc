/** Building the addon where tools are missing or fail, and what the loader then says. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadAddon, loadAddonFrom } from './load-addon';

const packageFolder = join(dirname(fileURLToPath(import.meta.url)), '../..');
const script = join('scripts', 'build-native.mjs');

describe('building the addon', () => {
  let folder: string;
  /** A folder with nothing on the PATH but what a test puts there. */
  let tools: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'xgen-build-'));
    tools = join(folder, 'tools');
    for (const part of [
      'scripts',
      'native/binding',
      'native/include',
      'native/src',
      'tools',
      'node_modules/node-api-headers',
    ])
      mkdirSync(join(folder, part), { recursive: true });
    copyFileSync(join(packageFolder, script), join(folder, script));
    writeFileSync(join(folder, 'CMakeLists.txt'), '');
    writeFileSync(join(folder, 'package.json'), '{}');
    writeFileSync(join(folder, 'node_modules/node-api-headers/index.js'), 'exports.include_dir = "/nowhere";');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function addTool(name: string, body: string): void {
    writeFileSync(join(tools, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(tools, name), 0o755);
  }

  function build(...flags: string[]): { status: number | null; stderr: string } {
    const environment = { PATH: tools };
    return spawnSync(process.execPath, [join(folder, script), ...flags], { encoding: 'utf8', env: environment });
  }

  it('fails without CMake, or with --optional leaves a note that the loader reports', () => {
    expect(build()).toMatchObject({ status: 1 });
    const { status, stderr } = build('--optional');
    expect(status).toBe(0);
    expect(stderr).toContain('CMake is missing');
    const loaded = loadAddonFrom(folder);
    expect(loaded).toMatchObject({ reason: expect.stringContaining('CMake is missing') as string });
    expect(loaded).toMatchObject({ remedy: expect.stringContaining('apt install') as string });
    expect(existsSync(join(folder, 'build', 'native-lock'))).toBe(false);
  });

  it('says when there is no compiler', () => {
    addTool('cmake', 'echo cmake version 9.9.9');
    expect(build('--optional').status).toBe(0);
    expect(loadAddonFrom(folder)).toMatchObject({ reason: expect.stringContaining('no C++ compiler') as string });
  });

  it('shows what the compiler complained about', () => {
    addTool(
      'cmake',
      'if [ "$1" = --version ]; then echo cmake version 9.9.9; else echo "x.cpp:1: error: no such luck"; exit 2; fi',
    );
    addTool('c++', 'echo c++ 9.9.9');
    expect(build('--optional').status).toBe(0);
    expect(loadAddonFrom(folder)).toMatchObject({
      reason: expect.stringContaining('x.cpp:1: error: no such luck') as string,
    });
  });

  it('waits for nobody who has died', () => {
    mkdirSync(join(folder, 'build'));
    writeFileSync(join(folder, 'build', 'native-lock'), '999999999');
    expect(build('--optional').status).toBe(0);
  });

  it('says when nothing was built, and when what was built does not load', () => {
    expect(loadAddonFrom(folder)).toMatchObject({ reason: 'The native addon is not built.' });
    mkdirSync(join(folder, 'build'));
    writeFileSync(join(folder, 'build', 'xgen_native.node'), 'not a library');
    expect(loadAddonFrom(folder)).toMatchObject({ reason: expect.stringContaining('does not load') as string });
    expect(loadAddonFrom(undefined)).toMatchObject({ remedy: expect.stringContaining('xgen-build-native') as string });
  });

  it.skipIf(loadAddon().addon === undefined)('leaves an addon alone that is up to date', () => {
    const addon = join(packageFolder, 'build', 'xgen_native.node');
    const stamp = readFileSync(join(packageFolder, 'build', 'native-stamp.json'), 'utf8');
    const before = statSync(addon).mtimeMs;
    // Twice: the first run may find sources newer than the addon.
    for (let run = 0; run < 2; run++) {
      expect(spawnSync(process.execPath, [join(packageFolder, script), '--optional']).status).toBe(0);
    }
    if (readFileSync(join(packageFolder, 'build', 'native-stamp.json'), 'utf8') === stamp) {
      expect(statSync(addon).mtimeMs).toBe(before);
    }
  });
});
