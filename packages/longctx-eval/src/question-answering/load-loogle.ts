/** LooGLE (arXiv 2311.04939): its question-answering and summarisation files, as published. */

import path from 'node:path';
import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import { readJsonl } from '../runs/read-jsonl.js';
import { parsePythonLiteral } from './python-literal.js';
import type { DocumentQuestion } from './types.js';

const rowSchema = z.object({
  input: z.string().min(1),
  title: z.string(),
  qa_pairs: z.union([z.string(), z.array(z.unknown())]),
  output: z.string().nullish(),
});

const pairSchema = z.object({
  Q: z.string(),
  A: z.union([z.string(), z.number()]),
  type: z.string().optional(),
});

const summaryQuestion = 'Write a summary of the text above.';

/** The group is the file's name, with the question's type behind a slash where it has one. */
export async function loadLoogle(file: string): Promise<DocumentQuestion[]> {
  const name = path.basename(file).replace(/\.jsonl(\.gz)?$/, '');
  const rows = await readJsonl(file, rowSchema);
  return rows.flatMap(({ input, title, qa_pairs: pairs, output }, row) => {
    const id = `${name}/${row}`;
    if (typeof pairs === 'string' && pairs.toLowerCase() === 'none') {
      if (typeof output !== 'string' || output === '') throw unreadable(file, row, 'neither questions nor a summary');
      return [{ id, group: name, document: input, question: summaryQuestion, answers: [output] }];
    }
    const list = z.array(pairSchema).safeParse(typeof pairs === 'string' ? parsePythonLiteral(pairs) : pairs);
    if (!list.success) throw unreadable(file, row, `no plain questions and answers (${title})`);
    return list.data.map(({ Q, A, type }, index) => ({
      id: `${id}/${index}`,
      group: type === undefined ? name : `${name}/${type}`,
      document: input,
      question: Q,
      answers: [String(A)],
    }));
  });
}

function unreadable(file: string, row: number, what: string): EvaluationError {
  return new EvaluationError('INVALID_DATA', `Row ${row + 1} of ${file} has ${what}.`, {
    value: row + 1,
    remedy: "LooGLE's longdep_qa, shortdep_qa and summarisation files can be read; its cloze files cannot.",
  });
}
