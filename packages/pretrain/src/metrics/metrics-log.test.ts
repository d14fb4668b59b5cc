import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MetricsLog } from './metrics-log';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'metrics-'));
  file = join(folder, 'metrics.jsonl');
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

interface Row {
  step: number;
  note: string;
}

/** Rows whose lines cross the 64 KiB chunks that the file is read in. */
const row = (step: number): Row => ({ step, note: `Größe ${'x'.repeat((step * 977) % 3000)}` });

async function write(rows: number): Promise<void> {
  const log = new MetricsLog<Row>(file);
  await log.resume(0);
  for (let step = 1; step <= rows; step++) await log.append(row(step));
  await log.sync();
  expect(log.rows).toBe(rows);
  await log.close();
}

describe('MetricsLog', () => {
  it.each([0, 1, 57, 199, 200])('keeps the first %d of 200 rows, drops the rest and goes on', async (kept) => {
    await write(200);
    await appendFile(file, '{"step":201,"no');
    const log = new MetricsLog<Row>(file);
    expect(await log.resume(kept)).toEqual(kept === 0 ? undefined : row(kept));
    await log.append(row(kept + 1));
    await log.close();
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      Array.from({ length: kept + 1 }, (_, i) => row(i + 1)),
    );
  });

  it('refuses a file with fewer rows, or with a damaged one among those it keeps', async () => {
    await write(3);
    await expect(new MetricsLog(file).resume(4)).rejects.toMatchObject({ code: 'CORRUPT_CHECKPOINT', value: 3 });
    await writeFile(file, '{"step":1}\n{"ste\n{"step":3}\n');
    await expect(new MetricsLog(file).resume(3)).rejects.toThrow(/row 2 is not JSON/);
  });

  it('says what to do when it cannot write or was not opened', async () => {
    await expect(new MetricsLog(join(folder, 'missing', 'm.jsonl')).resume(0)).rejects.toMatchObject({
      code: 'WRITE_FAILED',
    });
    await expect(new MetricsLog(file).append({})).rejects.toThrow(/Call resume\(rows\) first/);
  });
});
