/** What a run starts from: its tasks and reference files, and how they differ from those of the run it continues. */

import type { InputTask } from '../sources/inventory.js';
import { canonicalJson } from '../util/canonical-json.js';
import type { ReferenceFile } from './references.js';

export interface RunInputs {
  tasks: InputTask[];
  references: ReferenceFile[];
}

export function firstDifference(before: RunInputs, now: RunInputs): string {
  const list = ({ tasks }: RunInputs) =>
    new Map(tasks.flatMap((task) => task.files.map((file) => [`${task.source}:${file.path}`, file] as const)));
  const old = list(before);
  const current = list(now);
  for (const [key, file] of old) {
    const found = current.get(key);
    if (found === undefined) return `${file.path} is gone`;
    if (found.bytes !== file.bytes || found.modified !== file.modified) return `${file.path} was modified`;
  }
  for (const [key, file] of current) if (!old.has(key)) return `${file.path} is new`;
  const hashes = new Map(before.references.map(({ path, sha256 }) => [path, sha256]));
  const changed = now.references.find(({ path, sha256 }) => hashes.get(path) !== sha256);
  return changed === undefined ? 'other files' : `${changed.path} was modified`;
}

/** Numbers of the tasks that are not what they were, or no more; undefined when the reference files differ, on which all tasks depend. */
export function changedTasks(before: RunInputs, now: RunInputs): number[] | undefined {
  if (canonicalJson(before.references) !== canonicalJson(now.references)) return undefined;
  return before.tasks
    .filter((task, index) => index >= now.tasks.length || canonicalJson(task) !== canonicalJson(now.tasks[index]))
    .map(({ task }) => task);
}
