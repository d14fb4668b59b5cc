import type { FilterPlanInput } from '../../src/filters/registry.js';

export interface FilterExample {
  filter: FilterPlanInput['filter'];
  rule: string;
  because: string;
  text: string;
  path?: string;
  language?: string;
  license?: string;
  options?: Record<string, unknown>;
  /** `keep`, a reason, or the changed text. */
  outcome: string | { text: string };
}
