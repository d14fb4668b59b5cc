import type { Diagnostic } from 'typescript';

export function projectsOf(folder: string): string[];
export function typeErrors(config: string): Diagnostic[];
