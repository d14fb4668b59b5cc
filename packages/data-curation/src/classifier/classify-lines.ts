/** JSON Lines in, JSON Lines out: each line with its bytes and the new fields at its end. Memory: one line, and 64 KiB of output. */

import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { compressionOf } from '../sources/decompress.js';
import { produceFile } from '../util/files.js';
import type { Classification } from './classification.js';
import { addedFields, fieldTaken, predict } from './classification.js';
import { readRecords } from './record-files.js';

const pendingCharacters = 1 << 16;

/** Compressed input gives gzip: there is no Zstandard compressor here. */
export async function classifyLines(input: string, output: string, classification: Classification): Promise<void> {
  await produceFile(output, async (temporary) => {
    const lines = Readable.from(classifiedLines(input, classification));
    const file = createWriteStream(temporary, { flags: 'wx' });
    if (compressionOf(input) === 'none') await pipeline(lines, file);
    else await pipeline(lines, createGzip(), file);
  });
}

/** Lines in pieces of some size. */
async function* classifiedLines(input: string, classification: Classification): AsyncGenerator<string> {
  const { textField } = classification;
  const added = addedFields(classification);
  let pending = '';
  for await (const { number, line, names, values, problem } of readRecords(input, [textField])) {
    const location = number === 0 ? input : `${input}#${number}`;
    if (problem !== undefined || line === undefined || names === undefined) {
      classification.refuse(location, problem ?? 'no record');
      continue;
    }
    const taken = added.find((name) => names.has(name));
    if (taken !== undefined) throw fieldTaken(location, taken);
    const prediction = predict(location, values[0], classification);
    const fields = added.map((name, index) => `${JSON.stringify(name)}:${JSON.stringify(prediction[index])}`).join(',');
    const end = line.lastIndexOf('}');
    pending += `${line.slice(0, end).trimEnd()}${names.size === 0 ? '' : ','}${fields}}\n`;
    classification.onDocument();
    if (pending.length < pendingCharacters) continue;
    yield pending;
    pending = '';
  }
  if (pending !== '') yield pending;
}
