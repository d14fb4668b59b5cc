import type { BackendName } from '@xgen-small/kernels';

/** The backends that a recipe or a flag may name. */
export const backendNames = ['native', 'wasm', 'cpu', 'cuda', 'tensorflow'] as const satisfies readonly BackendName[];
