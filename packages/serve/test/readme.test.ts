import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTokenizerFolder } from '@xgen-small/tokenizer';
import { tinyModel } from './tiny-model.js';

const packageFolder = fileURLToPath(new URL('..', import.meta.url));

describe('the first example of the README', () => {
  let folder: string;
  beforeAll(async () => {
    // Inside the package, so that imports resolve as for a user.
    await mkdir(path.join(packageFolder, '.vitest'), { recursive: true });
    folder = await mkdtemp(path.join(packageFolder, '.vitest', 'readme-'));
    const { model, tokenizer, chatTemplate } = await tinyModel();
    await model.save(path.join(folder, 'my-model'));
    await writeTokenizerFolder(path.join(folder, 'my-model'), tokenizer.definition, {
      chatTemplate: chatTemplate.source,
    });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('runs against the built package', async () => {
    const readme = await readFile(path.join(packageFolder, 'README.md'), 'utf8');
    const code = /```(?:js|ts)\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    expect(code.trim().split('\n').length).toBeLessThanOrEqual(16);
    const check = `
const chat = await fetch(url + '/v1/chat/completions', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'my-model', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3 }),
});
console.log(chat.status, (await chat.json()).object);
await server.close();
`;
    await writeFile(path.join(folder, 'example.mjs'), code.replace('8080', '0') + check);
    const { stdout } = await promisify(execFile)(process.execPath, ['example.mjs'], { cwd: folder });
    expect(stdout).toMatch(/http:\/\/127\.0\.0\.1:\d+/);
    expect(stdout).toContain('200 chat.completion');
  });
});
