/** One document a file. Cost: one read and one hash of each file. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FolderSourcePlan } from '../plan/source-schema.js';
import { decodeBytes } from '../text/encoding-repair.js';
import { sha256OfText } from '../util/files.js';
import { LicenseDetector } from './license-detector.js';
import type { InputFile, RawDocument, SourceObserver } from './raw-document.js';

export async function* readFolder(
  source: FolderSourcePlan,
  root: string,
  files: readonly InputFile[],
  observer: SourceObserver,
): AsyncGenerator<RawDocument> {
  const detector = source.license === 'detect' ? new LicenseDetector(root) : undefined;
  for (const file of files) {
    const id = `${source.name}:${file.path}`;
    if (file.bytes > source.maximumFileBytes) {
      observer.onSkipped(
        id,
        file.path,
        'file too large',
        `${file.bytes} bytes > ${source.maximumFileBytes}`,
        file.bytes,
      );
      continue;
    }
    let bytes: Buffer;
    try {
      bytes = await readFile(join(root, file.path));
    } catch (error) {
      observer.onBadInput(id, `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
      continue;
    }
    observer.onFile({ path: file.path, bytes: bytes.length, sha256: sha256OfText(bytes) });
    const decoded = decodeBytes(bytes);
    yield {
      id,
      path: file.path,
      text: decoded?.text,
      inputBytes: bytes.length,
      repairs: decoded?.repairs ?? [],
      license: detector === undefined ? source.license : await detector.licenseOf(file.path, decoded?.text ?? ''),
    };
  }
}
