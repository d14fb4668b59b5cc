/**
 * Each rule of each filter, worked by hand at its limit: a text on one side and a text on the other. The arithmetic is in `because`;
 * the outcome is what the paper's rule says, not what the code happened to do. `FILTERS.md` is written from this table.
 */

import { code } from './code.js';
import type { FilterExample } from './example.js';
import { gopherQuality, gopherRepetition } from './gopher.js';
import { other } from './other.js';
import { c4, fineweb } from './web.js';

export type { FilterExample } from './example.js';

export const filterExamples: readonly FilterExample[] = [
  ...gopherQuality,
  ...gopherRepetition,
  ...c4,
  ...fineweb,
  ...code,
  ...other,
];

export const filterSources: Readonly<Record<string, string>> = {
  gopherQuality: 'Rae et al. 2021, arXiv:2112.11446, appendix A.1.1',
  gopherRepetition: 'Rae et al. 2021, arXiv:2112.11446, table A1',
  c4: 'Raffel et al. 2020, JMLR 21(140), section 2.2; numbers of the released code',
  fineweb: 'Penedo et al. 2024, arXiv:2406.17557, section 3.6',
  generatedCode: "the rule of GitHub's Linguist",
  minifiedCode: 'Kocetkov et al. 2022, arXiv:2211.15533; Chen et al. 2021, arXiv:2107.03374, section 3.1',
  dataBlob: 'Lozhkov et al. 2024, arXiv:2402.19173, section 3.2',
  licenseText: 'ours',
  length: 'ours',
  language: 'ours',
  license: 'SPDX expressions',
  personalData: 'Penedo et al. 2024, section 3.7; Li et al. 2023, arXiv:2305.06161, section 4',
};
