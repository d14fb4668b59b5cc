import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const packageFolder = fileURLToPath(new URL('..', import.meta.url));

describe('where neither model-core nor tokenizer is installed', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'xgen-without-peers-'));
    const modules = path.join(folder, 'node_modules');
    const target = path.join(modules, '@xgen-small', 'longctx-eval');
    await mkdir(target, { recursive: true });
    await cp(path.join(packageFolder, 'dist'), path.join(target, 'dist'), { recursive: true });
    await cp(path.join(packageFolder, 'package.json'), path.join(target, 'package.json'));
    const require = createRequire(path.join(packageFolder, 'package.json'));
    for (const name of ['zod', 'write-file-atomic']) {
      const installed = path.dirname(require.resolve(`${name}/package.json`));
      await symlink(await realpath(installed), path.join(modules, name));
    }
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('evaluates anything that generates, and says what a local model needs', async () => {
    await writeFile(
      path.join(folder, 'run.mjs'),
      `import { localModel, mathAccuracy, openAiEndpoint } from '@xgen-small/longctx-eval';
const problems = [{ id: 'a', question: 'q', answer: 7 }];
const model = { name: 'x', generate: async (prompts) => prompts.map(() => ({ text: '7', finishReason: 'stop' })) };
console.log((await mathAccuracy({ model, problems })).accuracy.mean);
console.log(openAiEndpoint({ baseUrl: 'http://localhost:1/v1', model: 'm' }).name);
const config = { vocabularySize: 10, maximumPositions: 100 };
const local = localModel({ config, logProbabilities() {} }, { encode: () => [1], decode: () => '' });
await local.generate(['x'], { maximumNewTokens: 1 }).catch((error) => console.log(error.code));
`,
    );
    const { stdout } = await promisify(execFile)(process.execPath, ['run.mjs'], { cwd: folder });
    expect(stdout.trim().split('\n')).toEqual(['1', 'm', 'MISSING_PEER']);
  });
});
