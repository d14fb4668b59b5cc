/** Quoting for DuckDB, which takes no parameters in COPY and file functions. */

export function sqlString(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

export function sqlIdentifier(value: string): string {
  return `"${value.replaceAll('"', '""')}"`;
}

/** A path to read: DuckDB takes it for a pattern, in which a character in brackets stands for itself. */
export function sqlFile(path: string): string {
  return sqlString(path.replace(/[*?[]/g, '[$&]'));
}

export function sqlFiles(paths: readonly string[]): string {
  return `[${paths.map(sqlFile).join(', ')}]`;
}
