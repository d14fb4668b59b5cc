import type { Annealed } from '../stage/stage';

/** The value when the learning rate has fallen `progress` (0 to 1) of its way; see `decayProgressAt`. */
export function annealedAt(value: Annealed, progress: number): number {
  return typeof value === 'number' ? value : value.start + (value.end - value.start) * progress;
}
