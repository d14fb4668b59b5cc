/** Checks a finished output folder against its manifest: every file present, with the bytes it had. Cost: reads everything once. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CurationError } from '../errors.js';
import { sha256OfFile } from '../util/files.js';
import type { CurationManifest } from './manifest.js';

/** @throws CurationError `OUTPUT_CORRUPT` naming the first file that is missing or differs. */
export async function verifyCuration(outputFolder: string): Promise<CurationManifest> {
  const path = join(outputFolder, 'manifest.json');
  let manifest: CurationManifest;
  try {
    manifest = JSON.parse(await readFile(path, 'utf8')) as CurationManifest;
  } catch (error) {
    throw new CurationError('OUTPUT_CORRUPT', `${path} is missing or not JSON.`, {
      value: path,
      remedy: 'Run the curation to its end.',
      cause: error,
    });
  }
  const files: { path: string; sha256: string }[] = [
    ...manifest.shards,
    ...manifest.heldout,
    manifest.inputs,
    manifest.report,
    manifest.reportHtml,
  ];
  if (manifest.decontamination !== undefined) files.push(manifest.decontamination);
  for (const file of files) {
    const found = await sha256OfFile(join(outputFolder, file.path)).catch(() => 'missing');
    if (found !== file.sha256) {
      throw new CurationError(
        'OUTPUT_CORRUPT',
        `${file.path} has SHA-256 ${found}, the manifest says ${file.sha256}.`,
        {
          value: file.path,
          remedy: 'Delete the output folder and curate again.',
        },
      );
    }
  }
  return manifest;
}
