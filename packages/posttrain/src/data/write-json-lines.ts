/** Writes records as JSONL, streamed; the file appears under its name only when whole. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Returns the number of records. */
export async function writeJsonLines(file: string, records: Iterable<object> | AsyncIterable<object>): Promise<number> {
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`;
  let count = 0;
  try {
    const handle = await open(temporary, 'wx');
    try {
      let pending = '';
      for await (const record of records) {
        pending += `${JSON.stringify(record)}\n`;
        count++;
        if (pending.length > 1 << 20) {
          await handle.appendFile(pending);
          pending = '';
        }
      }
      await handle.appendFile(pending);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    return count;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
