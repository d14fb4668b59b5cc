/** `xgen report`: report.html and the table of a run, finished or not. */
import { writeReport } from '../report/write-report.js';

export async function reportCommand(folder: string): Promise<void> {
  const report = await writeReport(folder);
  process.stdout.write(`${report.table}\n\nReport: ${report.path}\n`);
}
