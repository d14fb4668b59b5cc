import { relative, resolve } from 'node:path';

/** The command that serves a run, as a person in this folder would type it. */
export function chatCommandFor(runFolder: string): string {
  const folder = relative(process.cwd(), resolve(runFolder)) || '.';
  return folder === 'runs/quickstart' ? 'npm run serve' : `npm run serve -- ${folder}`;
}
