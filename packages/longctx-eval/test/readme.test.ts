import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const packageFolder = path.resolve(import.meta.dirname, '..');

describe('the first example of the README', () => {
  let folder: string;
  let server: Server;
  beforeAll(async () => {
    await mkdir(path.join(packageFolder, '.vitest'), { recursive: true });
    // Inside the package, so that it imports itself as a user would.
    folder = await mkdtemp(path.join(packageFolder, '.vitest', 'readme-'));
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (part: Buffer) => (body += part.toString()));
      request.on('end', () => {
        const { prompt } = JSON.parse(body) as { prompt: string };
        const key = /code of the ([a-z ]+) is$/.exec(prompt)?.[1];
        const value = new RegExp(`code of the ${key} is (\\d+)\\.`).exec(prompt)?.[1] ?? '';
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ choices: [{ text: ` ${value}.`, finish_reason: 'stop' }] }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  it('runs against the built package and a server', async () => {
    const readme = await readFile(path.join(packageFolder, 'README.md'), 'utf8');
    const code = /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    expect(code.trim().split('\n').length).toBeLessThanOrEqual(16);
    const { port } = server.address() as AddressInfo;
    await writeFile(path.join(folder, 'example.mjs'), code.replace('8080', String(port)));
    const { stdout } = await promisify(execFile)(process.execPath, ['example.mjs'], { cwd: folder });
    expect(stdout.match(/│ *1 *(?=│)/g)?.length).toBeGreaterThanOrEqual(9);
    expect((await readdir(path.join(folder, 'results'))).sort()).toEqual([
      'needle.results.json',
      'needle.samples.jsonl',
    ]);
  });
});
