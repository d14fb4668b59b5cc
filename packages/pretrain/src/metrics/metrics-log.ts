/**
 * An append-only JSONL file whose rows survive kills. A checkpoint stores how many rows belong to it, after `sync`; a
 * resumed run keeps exactly those, so that no row is torn, missing or there twice. One write a row.
 */
import { open, truncate, type FileHandle } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { PretrainError } from '../errors';

export class MetricsLog<Row extends object> {
  private handle?: FileHandle;
  private rowCount = 0;

  constructor(readonly file: string) {}

  /** Rows in the file. */
  get rows(): number {
    return this.rowCount;
  }

  /**
   * Opens the file, keeps its first `rows` rows and drops what follows; returns the last row kept. Throws
   * CORRUPT_CHECKPOINT where the file holds fewer whole rows.
   */
  async resume(rows: number): Promise<Row | undefined> {
    await this.close();
    this.handle = await this.writing(() => open(this.file, 'a'));
    const { bytes, last } = await this.prefix(rows);
    await this.writing(() => truncate(this.file, bytes));
    this.rowCount = rows;
    return last;
  }

  async append(row: Row): Promise<void> {
    await this.writing(async () => this.opened().appendFile(`${JSON.stringify(row)}\n`, 'utf8'));
    this.rowCount++;
  }

  /** All rows are on the disk when this resolves. */
  async sync(): Promise<void> {
    await this.writing(async () => this.opened().sync());
  }

  async close(): Promise<void> {
    const { handle } = this;
    this.handle = undefined;
    await handle?.close();
  }

  private opened(): FileHandle {
    if (this.handle !== undefined) return this.handle;
    throw new PretrainError('INVALID_ARGUMENT', `${this.file} is not open.`, { remedy: 'Call resume(rows) first.' });
  }

  /** Bytes of the first `rows` lines, and the last of them. */
  private async prefix(rows: number): Promise<{ bytes: number; last?: Row }> {
    let bytes = 0;
    let found = 0;
    let line: Buffer[] = [];
    let last: Row | undefined;
    if (rows === 0) return { bytes };
    for await (const chunk of createReadStream(this.file) as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        line.push(chunk.subarray(start, end));
        last = this.parse(Buffer.concat(line), found);
        bytes += Buffer.concat(line).length + 1;
        line = [];
        start = end + 1;
        if (++found === rows) return { bytes, last };
      }
      line.push(chunk.subarray(start));
    }
    throw new PretrainError(
      'CORRUPT_CHECKPOINT',
      `${this.file} has ${found} whole rows; the checkpoint needs ${rows}.`,
      {
        value: found,
        remedy: 'Restore the file, or delete the folder and start again.',
      },
    );
  }

  private parse(line: Buffer, index: number): Row {
    try {
      return JSON.parse(line.toString('utf8')) as Row;
    } catch (cause) {
      throw new PretrainError('CORRUPT_CHECKPOINT', `${this.file}: row ${index + 1} is not JSON.`, {
        value: line.toString('utf8'),
        remedy: 'Restore the file, or delete the folder and start again.',
        cause,
      });
    }
  }

  private async writing<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (cause) {
      if (PretrainError.isInstance(cause)) throw cause;
      throw new PretrainError('WRITE_FAILED', `Writing ${this.file} failed: ${(cause as Error).message}.`, {
        value: this.file,
        remedy: 'Free space or fix the folder, then run again; the last checkpoint is intact.',
        cause,
      });
    }
  }
}
