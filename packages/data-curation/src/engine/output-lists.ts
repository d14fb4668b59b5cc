/** The lists beside the shards, a line an entry. Written in one pass over the tasks' results; whole or not at all. Memory: one result. */

import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { CurationPlan } from '../plan/schema.js';
import type { InputTask } from '../sources/inventory.js';
import { canonicalJson } from '../util/canonical-json.js';
import { LineFile } from '../util/line-file.js';
import type { StoredTask } from './duplicate-clusters.js';
import type { TaskResult } from './extract-task.js';
import { contaminatedPath } from './extract-task.js';
import type { CurationManifest } from './manifest.js';

/** Every input file with its hash. */
export async function listInputs(
  outputFolder: string,
  { sources }: CurationPlan,
  tasks: readonly InputTask[],
  resultOf: (task: InputTask) => Promise<TaskResult>,
): Promise<CurationManifest['inputs']> {
  const path = 'inputs.jsonl';
  const list = new LineFile(join(outputFolder, path));
  let files = 0;
  let bytes = 0;
  try {
    for (const task of tasks) {
      for (const input of (await resultOf(task)).inputs) {
        list.add(canonicalJson({ source: sources[task.source].name, ...input }));
        files++;
        bytes += input.bytes;
      }
    }
    return { path, files, bytes, sha256: list.finish() };
  } finally {
    list.discard();
  }
}

/** Joins the tasks' lists of documents that share text with an evaluation item; returns the hash of the whole. */
export async function listContaminated(
  outputFolder: string,
  tasksFolder: string,
  tasks: readonly StoredTask[],
): Promise<string> {
  const list = new LineFile(join(outputFolder, 'decontamination.jsonl'));
  try {
    for (const { task } of tasks) {
      const lines = createInterface({ input: createReadStream(contaminatedPath(tasksFolder, task)) });
      for await (const line of lines) list.add(line);
    }
    return list.finish();
  } finally {
    list.discard();
  }
}
