export interface TestSums {
  passed: number;
  failed: number;
  skipped: number;
}

export function packageFolders(root: string): string[];
export function packagesInPlan(plan: string): Set<string>;
export function printTestSummary(
  root: string,
  options?: { checksFailed?: boolean; asked?: ReadonlySet<string> },
): TestSums;
