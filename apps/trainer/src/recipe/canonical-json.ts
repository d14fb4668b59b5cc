/** JSON with sorted keys, so that equal recipes have equal bytes, and the names of what differs between two values. */

export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}

/** Paths ("pretrain.stages.0.tokens") at which two JSON values differ. */
export function changedKeys(left: unknown, right: unknown, path = ''): string[] {
  if (canonicalJson(left) === canonicalJson(right)) return [];
  const bothObjects = [left, right].every((value) => value !== null && typeof value === 'object');
  if (!bothObjects || Array.isArray(left) !== Array.isArray(right)) return [path || '(everything)'];
  const a = left as Record<string, unknown>;
  const b = right as Record<string, unknown>;
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) =>
    changedKeys(a[key], b[key], path === '' ? key : `${path}.${key}`),
  );
}
