/** The text that every clone of this repository has: the documentation and source code in its own node_modules. */
import type { CurationPlanInput } from '@xgen-small/data-curation';

/** Folder sources for a curation plan; `codeBytes` of source code are taken, chosen by hash. */
export function workspaceSources({
  maximumFileBytes,
  codeBytes,
}: {
  maximumFileBytes: number;
  codeBytes: number;
}): CurationPlanInput['sources'] {
  return [
    {
      type: 'folder',
      name: 'documentation',
      path: 'node_modules/.pnpm',
      include: ['**/*.md', '**/*.mdx', '**/*.rst'],
      maximumFileBytes,
    },
    {
      type: 'folder',
      name: 'source-code',
      path: 'node_modules/.pnpm',
      include: ['**/*.d.ts', '**/*.ts', '**/*.js', '**/*.mjs', '**/*.cjs'],
      exclude: ['**/*.min.js'],
      maximumFileBytes,
      byteBudget: codeBytes,
    },
  ];
}
