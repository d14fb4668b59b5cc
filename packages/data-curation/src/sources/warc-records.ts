/**
 * Cuts a web archive into records (WARC 1.0 and 1.1, ISO 28500) and checks the framing: every record has to be as long as it says and
 * be followed by two line ends. After a lie the reader looks for the next record and names the one it lost. Reading the record
 * itself is left to `warcio`, one record at a time, since that library guesses where lengths are wrong.
 * Memory: one record of at most `maximumRecordBytes`.
 */

import type { ByteQueue } from './byte-queue.js';

export type RecordEvent =
  | { kind: 'record'; number: number; bytes: Buffer }
  | { kind: 'large'; number: number; length: number }
  | { kind: 'bad'; number: number; reason: string };

const maximumHeaderBytes = 64 * 1024;
const recordStart = /^WARC\/\d\.\d\r?\n/;

export async function* warcRecords(queue: ByteQueue, maximumRecordBytes: number): AsyncGenerator<RecordEvent> {
  for (let number = 1; ; number++) {
    await skipLineEnds(queue);
    if ((await queue.peek(1)).length === 0) return;
    if (!recordStart.test((await queue.peek(12)).toString('latin1'))) {
      yield { kind: 'bad', number, reason: 'not the beginning of a WARC record' };
      if (!(await findNext(queue))) return;
      continue;
    }
    const header = await queue.takeThrough('\r\n\r\n', maximumHeaderBytes);
    if (header === undefined) {
      yield { kind: 'bad', number, reason: 'the record header does not end' };
      await queue.skip(1);
      if (!(await findNext(queue))) return;
      continue;
    }
    const length = contentLength(header);
    if (length === undefined) {
      yield { kind: 'bad', number, reason: 'no valid Content-Length' };
      if (!(await findNext(queue))) return;
      continue;
    }
    if (length > maximumRecordBytes) {
      const skipped = await queue.skip(length);
      if (skipped === length && (await endsHere(queue))) {
        yield { kind: 'large', number, length };
        continue;
      }
      yield { kind: 'bad', number, reason: 'the length of the record is wrong' };
      if (!(await findNext(queue))) return;
      continue;
    }
    const body = await queue.take(length);
    if (body.length === length && (await endsHere(queue))) {
      yield { kind: 'record', number, bytes: Buffer.concat([header, body]) };
      continue;
    }
    const reason = body.length < length ? 'the file ends inside the record' : 'the length of the record is wrong';
    yield { kind: 'bad', number, reason };
    // The body may have swallowed records that follow.
    queue.putBack(body);
    if (!(await findNext(queue))) return;
  }
}

async function skipLineEnds(queue: ByteQueue): Promise<void> {
  for (;;) {
    const [byte] = await queue.peek(1);
    if (byte !== 13 && byte !== 10) return;
    await queue.skip(1);
  }
}

/** After the body: two line ends, or the end of the file. */
async function endsHere(queue: ByteQueue): Promise<boolean> {
  const next = (await queue.peek(4)).toString('latin1');
  return next === '' || next.startsWith('\r\n\r\n') || next === '\r\n' || next.startsWith('\n\n');
}

/** Stands at the next line that begins a record. */
async function findNext(queue: ByteQueue): Promise<boolean> {
  for (;;) {
    if (!(await queue.skipTo('\nWARC/'))) return false;
    await queue.skip(1);
    if (recordStart.test((await queue.peek(12)).toString('latin1'))) return true;
  }
}

function contentLength(header: Buffer): number | undefined {
  const match = /\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r?\n/i.exec(header.toString('latin1'));
  return match === null ? undefined : Number(match[1]);
}
