import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EvaluationError } from '../errors.js';
import { createPythonSandbox, inspectSandbox } from './sandbox.js';
import type { PythonSandbox } from './types.js';

const report = await inspectSandbox();

describe.skipIf(!report.available)(`the sandbox (${report.available ? 'present' : report.problems.join('; ')})`, () => {
  let sandbox: PythonSandbox;
  let outside: string;
  beforeAll(async () => {
    // Far above what any of these programs takes, on a machine however busy.
    sandbox = await createPythonSandbox({ timeoutSeconds: 100, memoryBytes: 128 << 20 });
    outside = await mkdtemp(path.join(tmpdir(), 'xgen-outside-'));
  });
  afterAll(() => rm(outside, { recursive: true, force: true }));

  it('runs a program and returns what it printed', async () => {
    const run = await sandbox.run('import math, json\nprint(json.dumps([math.pi, "é"], ensure_ascii=False))');
    expect(run).toMatchObject({ outcome: 'passed', exitCode: 0, stdout: '[3.141592653589793, "é"]\n' });
  });

  it('reports a failure with its traceback', async () => {
    const run = await sandbox.run('assert 1 + 1 == 3, "wrong sum"');
    expect(run.outcome).toBe('failed');
    expect(run.stderr).toContain('AssertionError: wrong sum');
    expect(run.stderr).toContain('program.py');
  });

  it('keeps the program off the network, local servers included', async () => {
    let connections = 0;
    const server = createServer(() => connections++);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const run = await sandbox.run(`import socket\nsocket.create_connection(("127.0.0.1", ${port}), 2)`);
    expect(run.outcome).toBe('failed');
    expect(run.stderr).toMatch(/PermissionError|OSError|refused|unreachable/);
    expect(connections).toBe(0);
    await new Promise((resolve) => server.close(resolve));
  });

  it('keeps files outside its folder from being read, written and deleted', async () => {
    const secret = path.join(outside, 'secret');
    await writeFile(secret, 'secret');
    for (const source of [
      `print(open(${JSON.stringify(secret)}).read())`,
      `open(${JSON.stringify(path.join(outside, 'new'))}, "w")`,
      `import os; os.remove(${JSON.stringify(secret)})`,
      `import os; print(os.listdir(${JSON.stringify(homedir())}))`,
      'print(open("/etc/passwd").read())',
    ]) {
      const run = await sandbox.run(source);
      expect([source, run.outcome, run.stdout]).toEqual([source, 'failed', '']);
    }
    expect(await readdir(outside)).toEqual(['secret']);
  });

  it('gives it a folder of its own, and removes it', async () => {
    const run = await sandbox.run('import os\nopen("x", "w").write("1")\nprint(os.getcwd(), open("x").read())');
    expect(run.outcome).toBe('passed');
    const [folder, content] = run.stdout.trim().split(' ');
    expect(content).toBe('1');
    await expect(readdir(folder)).rejects.toThrow('ENOENT');
  });

  it('lets it start nothing and signal no one', async () => {
    for (const source of [
      'import os; os.fork()',
      'import os; os.execv("/bin/true", ["true"])',
      'import subprocess; subprocess.run(["/bin/true"])',
      `import os; os.kill(${process.pid}, 0)`,
      'import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0',
    ]) {
      const run = await sandbox.run(source);
      expect([source, run.outcome]).toEqual([source, 'failed']);
    }
    expect(
      (await sandbox.run('import threading\nt = threading.Thread(target=print, args=(7,)); t.start(); t.join()'))
        .stdout,
    ).toBe('7\n');
  });

  it('ends a program that runs, allocates, writes or prints without end', async () => {
    const strict = await createPythonSandbox({ timeoutSeconds: 1 });
    expect((await strict.run('while True: pass')).outcome).toBe('timeout');
    expect((await strict.run('import time; time.sleep(60)')).outcome).toBe('timeout');
    expect((await sandbox.run('x = bytearray(1 << 30)')).stderr).toContain('MemoryError');
    expect((await sandbox.run('open("big", "wb").write(b"x" * (64 << 20))')).outcome).not.toBe('passed');
    const loud = await sandbox.run('print("x" * (4 << 20))');
    expect(loud).toMatchObject({ outcome: 'passed' });
    expect(loud.stdout.length).toBe(64 * 1024);
  });

  it('passes none of the environment on', async () => {
    process.env.XGEN_SANDBOX_TEST_SECRET = 'secret';
    const run = await sandbox.run('import os; print(sorted(os.environ))');
    delete process.env.XGEN_SANDBOX_TEST_SECRET;
    expect(run.stdout).toContain('HOME');
    expect(run.stdout).not.toContain('SECRET');
    expect(run.stdout).not.toContain('PATH');
  });

  it('stops on a signal', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 100);
    await expect(sandbox.run('while True: pass', { signal: controller.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    });
  });
});

describe('where there is no interpreter', () => {
  it('says what is missing', async () => {
    const missing = await inspectSandbox({ python: '/nowhere/python3' });
    expect(missing.available).toBe(false);
    expect(missing.problems.join()).toMatch(/\/nowhere\/python3|needs Linux/);
    const error = await createPythonSandbox({ python: '/nowhere/python3' }).catch((reason: unknown) => reason);
    expect(EvaluationError.isInstance(error) && error.code).toBe('SANDBOX_UNAVAILABLE');
  });
});
