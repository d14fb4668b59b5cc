/**
 * Documents of a web archive: the main text of HTML pages (`response` records), plain text, and the text of `conversion`
 * records (WET files). Other records are passed over. Memory: one record and its text.
 */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { WARCParser } from 'warcio';
import type { WarcSourcePlan } from '../plan/source-schema.js';
import { decodeBytes, repairText } from '../text/encoding-repair.js';
import { HtmlTooComplex } from '../text/html/html-blocks.js';
import { htmlToText } from '../text/html/html-to-text.js';
import { hash32 } from '../util/hash.js';
import { ByteQueue } from './byte-queue.js';
import { compressionOf, DamagedFile, decompressed, UnreadableFile } from './decompress.js';
import type { InputFile, RawDocument, SourceObserver } from './raw-document.js';
import { warcRecords } from './warc-records.js';

interface Page {
  /** Media type without parameters, lower-case. */
  type: string;
  charset: string | undefined;
  bytes: Buffer;
}

export async function* readWarc(
  source: WarcSourcePlan,
  root: string,
  files: readonly InputFile[],
  seed: number,
  observer: SourceObserver,
): AsyncGenerator<RawDocument> {
  for (const file of files) {
    const location = `${source.name}:${file.path}`;
    const hash = createHash('sha256');
    let bytes = 0;
    let records = 0;
    const stream = decompressed(join(root, file.path), compressionOf(file.path), (raw) => {
      hash.update(raw);
      bytes += raw.length;
    });
    try {
      for await (const event of warcRecords(new ByteQueue(stream), source.maximumRecordBytes)) {
        records = event.number;
        const id = `${location}#${event.number}`;
        if (event.kind === 'bad') {
          observer.onBadInput(id, event.reason);
        } else if (event.kind === 'large') {
          observer.onSkipped(
            id,
            '',
            'record too large',
            `${event.length} bytes > ${source.maximumRecordBytes}`,
            event.length,
          );
        } else if (source.sampleFraction >= 1 || hash32('sample', seed, id) < source.sampleFraction * 2 ** 32) {
          const document = await readRecord(source, id, event.bytes, observer);
          if (document !== undefined) yield document;
        }
      }
    } catch (error) {
      if (!(error instanceof DamagedFile)) throw error;
      const isRead = bytes > 0;
      observer.onBadInput(isRead ? `${location}#${records + 1}` : location, error.message);
      if (error instanceof UnreadableFile) continue;
    } finally {
      // Closes the file where reading stopped before its end.
      await stream.return(undefined);
    }
    observer.onFile({ path: file.path, bytes, sha256: hash.digest('hex') });
  }
}

async function readRecord(
  source: WarcSourcePlan,
  id: string,
  bytes: Buffer,
  observer: SourceObserver,
): Promise<RawDocument | undefined> {
  let page: Page | undefined;
  try {
    page = await openRecord(bytes, source.maximumRecordBytes);
  } catch (error) {
    const reason =
      error instanceof RecordTooLarge ? 'the record expands beyond the limit' : 'the record cannot be read';
    observer.onBadInput(id, reason);
    return undefined;
  }
  if (page === undefined) return undefined;
  const base = { id, path: '', inputBytes: page.bytes.length, license: source.license };
  if (page.type === 'text/plain') {
    const decoded = decodeBytes(page.bytes);
    return { ...base, text: decoded?.text, repairs: decoded?.repairs ?? [] };
  }
  const html = decodeHtml(page);
  if (html === undefined) return { ...base, text: undefined, repairs: [] };
  try {
    const { text, repairs } = repairText(htmlToText(html, { removeBoilerplate: source.removeBoilerplate }));
    return { ...base, text, repairs };
  } catch (error) {
    if (!(error instanceof HtmlTooComplex)) throw error;
    observer.onBadInput(id, error.message);
    return undefined;
  }
}

class RecordTooLarge extends Error {}

/** The page in a record, or undefined for a record that holds none. */
async function openRecord(bytes: Buffer, limit: number): Promise<Page | undefined> {
  const record = await WARCParser.parse([bytes]);
  if (record === null) return undefined;
  const isResponse = record.warcType === 'response';
  if (!isResponse && record.warcType !== 'conversion') return undefined;
  const header = isResponse ? record.httpHeaders?.headers.get('content-type') : record.warcContentType;
  if (isResponse && Number(record.httpHeaders?.statusCode ?? 0) !== 200) return undefined;
  const [type, ...parameters] = (header ?? '').toLowerCase().split(';');
  const media = type.trim();
  if (!['text/html', 'application/xhtml+xml', 'text/plain'].includes(media)) return undefined;
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of record) {
    size += piece.length;
    if (size > limit) throw new RecordTooLarge();
    pieces.push(piece);
  }
  const charset = parameters.map((parameter) => /^\s*charset=["']?([\w-]+)/.exec(parameter)?.[1]).find(Boolean);
  return { type: media, charset, bytes: Buffer.concat(pieces) };
}

/** By the header's charset, else the page's own `meta`, else as any text. */
function decodeHtml({ bytes, charset }: Page): string | undefined {
  const declared =
    charset ?? /<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)/i.exec(bytes.toString('latin1', 0, 4096))?.[1];
  if (declared !== undefined && !/^(?:utf-?8|windows-1252|iso-8859-1|latin1|us-ascii)$/i.test(declared)) {
    try {
      return new TextDecoder(declared).decode(bytes);
    } catch {
      // A charset that no one knows: decided by the bytes below.
    }
  }
  return decodeBytes(bytes)?.text;
}
