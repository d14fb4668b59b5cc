/**
 * Every kind of bad input, with what a curation has to say of it. Each case is a source with good neighbours around the bad input; one
 * test runs all of them with `onBadInput: 'skip'`, one with `'fail'`.
 */

import { archives, pages } from './archive-cases.js';
import type { BadInputCase } from './bad-input-case.js';
import { files, vanished } from './file-cases.js';
import { compressed, lines } from './line-cases.js';
import { parquetFiles } from './parquet-cases.js';

export const badInputCases: readonly BadInputCase[] = [
  ...lines,
  ...compressed,
  ...parquetFiles,
  ...archives,
  ...pages,
  ...files,
  ...vanished,
];
