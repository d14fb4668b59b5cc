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
const nextRecord = '\nWARC/';
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
    const header = await queue.takeThrough('\r\n\r\n', maximumHeaderBytes, nextRecord);
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
      if (await skipLarge(queue, length, maximumRecordBytes)) {
        yield { kind: 'large', number, length };
        continue;
      }
      yield { kind: 'bad', number, reason: 'the length of the record is wrong' };
      if (!(await findNext(queue))) return;
      continue;
    }
    const body = await queue.peek(length + 4);
    if (body.length >= length && isEnd(body.subarray(length))) {
      yield { kind: 'record', number, bytes: Buffer.concat([header, body.subarray(0, length)]) };
      await queue.skip(length);
      continue;
    }
    const reason = body.length < length ? 'the file ends inside the record' : 'the length of the record is wrong';
    yield { kind: 'bad', number, reason };
    // Nothing was taken: the body may have swallowed records that follow.
    if (!(await findNext(queue))) return;
  }
}

/**
 * Skips a body too large to be held. False when its length is a lie: then the queue stands before the first record that it would have
 * swallowed, as far as that can be told. A body may hold what looks like a record: it does if it goes on to its end, not further than
 * one record's length from there.
 */
async function skipLarge(queue: ByteQueue, length: number, maximumRecordBytes: number): Promise<boolean> {
  let left = length;
  while (left > 0) {
    const skipped = await queue.skipBefore(nextRecord, left);
    left -= skipped;
    if (left === 0) break;
    const found = await queue.peek(nextRecord.length + 7);
    if (found.length === 0) return false;
    if (!recordStart.test(found.toString('latin1', 1))) {
      left -= await queue.skip(1);
      continue;
    }
    if (left > maximumRecordBytes) return false;
    const rest = await queue.peek(left + 4);
    if (rest.length < left || !isEnd(rest.subarray(left))) return false;
    await queue.skip(left);
    return true;
  }
  return endsHere(queue);
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
  return isEnd(await queue.peek(4));
}

function isEnd(bytes: Buffer): boolean {
  const next = bytes.toString('latin1');
  return next === '' || next.startsWith('\r\n\r\n') || next === '\r\n' || next.startsWith('\n\n');
}

/** Stands at the next line that begins a record. */
async function findNext(queue: ByteQueue): Promise<boolean> {
  for (;;) {
    await queue.skipBefore(nextRecord, Infinity);
    if ((await queue.skip(1)) === 0) return false;
    if (recordStart.test((await queue.peek(12)).toString('latin1'))) return true;
  }
}

function contentLength(header: Buffer): number | undefined {
  const match = /\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r?\n/i.exec(header.toString('latin1'));
  return match === null ? undefined : Number(match[1]);
}
