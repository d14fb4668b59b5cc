/** One document a file. Cost: one read and one hash of each file. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FolderSourcePlan } from '../plan/source-schema.js';
import { decodeBytes } from '../text/encoding-repair.js';
import { HtmlTooComplex } from '../text/html/html-blocks.js';
import { htmlToText } from '../text/html/html-to-text.js';
import { sha256OfText } from '../util/files.js';
import { LicenseDetector } from './license-detector.js';
import type { InputFile, RawDocument, SourceObserver } from './raw-document.js';

const readAheadFiles = 16;
const readAheadBytes = 4 * 1024 * 1024;

export async function* readFolder(
  source: FolderSourcePlan,
  root: string,
  files: readonly InputFile[],
  observer: SourceObserver,
): AsyncGenerator<RawDocument> {
  const detector = source.license === 'detect' ? new LicenseDetector(root) : undefined;
  const reads = new ReadAhead(
    root,
    files.filter(({ bytes }) => bytes <= source.maximumFileBytes),
  );
  for (const file of files) {
    const id = `${source.name}:${file.path}`;
    if (file.bytes > source.maximumFileBytes) {
      const detail = `${file.bytes} bytes > ${source.maximumFileBytes}`;
      observer.onSkipped(id, file.path, 'file too large', detail, file.bytes);
      continue;
    }
    const bytes = await reads.next();
    if (!Buffer.isBuffer(bytes)) {
      observer.onBadInput(id, `cannot be read (${bytes.code ?? 'unknown error'})`);
      continue;
    }
    observer.onFile({ path: file.path, bytes: bytes.length, sha256: sha256OfText(bytes) });
    let decoded = decodeBytes(bytes);
    if (decoded !== undefined && source.convertHtml && /\.x?html?$/i.test(file.path)) {
      try {
        decoded = { ...decoded, text: htmlToText(decoded.text, { removeBoilerplate: true }) };
      } catch (error) {
        if (!(error instanceof HtmlTooComplex)) throw error;
        observer.onBadInput(id, error.message);
        continue;
      }
    }
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

/** Reads a list of files in order, the next ones while the last one is worked on. Memory: a few files, or one large one. */
class ReadAhead {
  readonly #root: string;
  readonly #files: readonly InputFile[];
  readonly #pending: { bytes: number; content: Promise<Buffer | NodeJS.ErrnoException> }[] = [];
  #started = 0;
  #bytes = 0;

  constructor(root: string, files: readonly InputFile[]) {
    this.#root = root;
    this.#files = files;
  }

  next(): Promise<Buffer | NodeJS.ErrnoException> {
    while (this.#started < this.#files.length && this.#hasRoom(this.#files[this.#started].bytes)) {
      const { path, bytes } = this.#files[this.#started++];
      const content = readFile(join(this.#root, path)).catch((error: unknown) => error as NodeJS.ErrnoException);
      this.#pending.push({ bytes, content });
      this.#bytes += bytes;
    }
    const { bytes, content } = this.#pending.shift()!;
    this.#bytes -= bytes;
    return content;
  }

  #hasRoom(bytes: number): boolean {
    if (this.#pending.length === 0) return true;
    return this.#pending.length < readAheadFiles && this.#bytes + bytes <= readAheadBytes;
  }
}
