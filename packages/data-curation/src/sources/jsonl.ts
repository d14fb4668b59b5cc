/** JSON Lines, one document a line. Memory: one line, whatever the size of the file. */

import { join } from 'node:path';
import type { JsonlSourcePlan } from '../plan/source-schema.js';
import { repairText } from '../text/encoding-repair.js';
import { hash32 } from '../util/hash.js';
import { compressionOf } from './decompress.js';
import { readLines } from './line-reader.js';
import type { InputFile, RawDocument, SourceObserver } from './raw-document.js';

const utf8 = new TextDecoder('utf-8', { fatal: true });

export async function* readJsonl(
  source: JsonlSourcePlan,
  root: string,
  files: readonly InputFile[],
  seed: number,
  observer: SourceObserver,
): AsyncGenerator<RawDocument> {
  for (const file of files) {
    const compression = compressionOf(file.path);
    for await (const event of readLines(join(root, file.path), compression, source.maximumLineBytes)) {
      if (event.kind === 'end') {
        observer.onFile({ path: file.path, bytes: event.bytes, sha256: event.sha256 });
        continue;
      }
      if (event.kind === 'damage') {
        const line = event.number === undefined ? '' : `#${event.number}`;
        observer.onBadInput(`${source.name}:${file.path}${line}`, event.reason);
        continue;
      }
      const id = `${source.name}:${file.path}#${event.number}`;
      if (event.kind === 'long') {
        observer.onBadInput(id, `line longer than ${source.maximumLineBytes} bytes`);
        continue;
      }
      if (event.bytes.length === 0 || (event.bytes.length === 1 && event.bytes[0] === 13)) continue;
      if (source.sampleFraction < 1 && hash32('sample', seed, id) >= source.sampleFraction * 2 ** 32) continue;
      const document = parseLine(source, id, file.path, event.bytes, observer);
      if (document !== undefined) yield document;
    }
  }
}

function parseLine(
  source: JsonlSourcePlan,
  id: string,
  path: string,
  bytes: Buffer,
  observer: SourceObserver,
): RawDocument | undefined {
  let line: string;
  try {
    line = utf8.decode(bytes);
  } catch {
    observer.onBadInput(id, 'invalid UTF-8');
    return undefined;
  }
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    observer.onBadInput(id, 'not JSON');
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    observer.onBadInput(id, 'not a JSON object');
    return undefined;
  }
  const record = value as Record<string, unknown>;
  if (!Object.hasOwn(record, source.textField)) {
    observer.onBadInput(id, `field "${source.textField}" is missing`);
    return undefined;
  }
  const text = record[source.textField];
  if (typeof text !== 'string') {
    observer.onBadInput(id, `field "${source.textField}" is not a string`);
    return undefined;
  }
  const license = source.licenseField === undefined ? undefined : record[source.licenseField];
  const repaired = repairText(text);
  return {
    id,
    path,
    text: repaired.text,
    inputBytes: bytes.length,
    repairs: repaired.repairs,
    license: typeof license === 'string' ? license : source.license,
  };
}
