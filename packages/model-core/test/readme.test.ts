import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

describe('README', () => {
  it('has a first example that runs against the built package', () => {
    const root = new URL('..', import.meta.url).pathname;
    const code = /```js\n([\s\S]*?)```/.exec(readFileSync(`${root}/README.md`, 'utf8'))![1];
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: root, encoding: 'utf8' });
    const tokens = /\[([\s\S]*)\]\s+length/.exec(output)![1].split(',').map(Number);
    expect(tokens).toHaveLength(8);
    expect(tokens.every((token) => Number.isInteger(token) && token >= 0 && token < 256)).toBe(true);
  });
});
