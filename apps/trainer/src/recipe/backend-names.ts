import type { BackendName } from '@xgen-small/kernels';

/** The backends that a recipe or a flag may name. */
export const backendNames = ['native', 'wasm', 'cpu', 'cuda', 'tensorflow'] as const satisfies readonly BackendName[];

/** What `compute.backend` of a recipe takes: a name, or the choice of the fastest that is sure to work here. */
export const backendChoices = ['auto', ...backendNames] as const;
export type BackendChoice = (typeof backendChoices)[number];
