#!/usr/bin/env node
// Committed, so that the `xgen` link exists from the install on; the command itself is built into dist.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const cli = new URL('../dist/cli.js', import.meta.url);
if (!existsSync(fileURLToPath(cli))) {
  console.error('xgen: not built yet. Run `npm start` or `npm test` once, or `npx turbo run build`.');
  process.exit(1);
}
await import(cli.href);
