/**
 * The rules of C4 (Raffel et al. 2020, JMLR 21(140), section 2.2) for web prose. Lines are kept when they end in a terminal
 * punctuation mark, hold at least `minimumWordsPerLine` words, none of them absurdly long, and neither mention JavaScript nor look like
 * a policy notice. Documents are dropped when they hold a curly bracket or "lorem ipsum", or when fewer than
 * `minimumSentences` sentences are left. The numbers are those of the code that made the dataset (`c4_utils` in
 * tensorflow_datasets: 5 words, 3 sentences). The paper's list of offensive words is not included (`blockedWords` takes one),
 * and its removal of repeated three-sentence spans is a matter of the whole corpus (`deduplication.substrings`).
 * Beyond the paper: with `preserveMaths`, lines with TeX stay, and curly brackets of TeX are no reason to drop.
 * Cost: one pass over the lines.
 */

import { z } from 'zod';
import { hasMathsMarkup, isTexText } from '../text/maths-markup.js';
import type { DocumentFilter } from './filter.js';
import { keep } from './filter.js';

export const c4FilterSchema = z.strictObject({
  filter: z.literal('c4'),
  domains: z.array(z.string()).optional(),
  requireTerminalPunctuation: z.boolean().default(true),
  minimumWordsPerLine: z.int().min(0).default(5),
  maximumWordCharacters: z.int().min(1).default(1000),
  minimumSentences: z.int().min(0).default(3),
  dropCurlyBrackets: z.boolean().default(true),
  dropLoremIpsum: z.boolean().default(true),
  removeJavascriptLines: z.boolean().default(true),
  removePolicyLines: z.boolean().default(true),
  removeCitationMarks: z.boolean().default(true),
  preserveMaths: z.boolean().default(true),
  /** A document holding one of these as a whole word, in any case, is dropped. */
  blockedWords: z.array(z.string()).default([]),
});

type C4Options = z.output<typeof c4FilterSchema>;

const terminal = /[.!?]["'”’)\]]?$|["”]$/u;
const policy = ['terms of use', 'privacy policy', 'cookie policy', 'uses cookies', 'use of cookies', 'use cookies'];
const citation = /\[(?:\d*|citation needed|edit)\]/gu;
const sentenceEnd = /[.!?]+(?=["'”’)\]]*(?:\s|$))/gu;

export function c4Filter(options: C4Options): DocumentFilter {
  const blocked = new Set(options.blockedWords.map((word) => word.toLowerCase()));
  return {
    name: 'c4',
    apply(document) {
      const { text } = document;
      const isTex = options.preserveMaths && isTexText(text);
      if (options.dropCurlyBrackets && text.includes('{') && !isTex) {
        return { drop: 'curly bracket', detail: 'contains {' };
      }
      const lowered = text.toLowerCase();
      if (options.dropLoremIpsum && lowered.includes('lorem ipsum')) {
        return { drop: 'lorem ipsum', detail: 'contains the filler text' };
      }
      if (blocked.size > 0) {
        const hit = lowered.match(/[\p{L}\p{N}]+/gu)?.find((word) => blocked.has(word));
        if (hit !== undefined) return { drop: 'blocked word', detail: hit };
      }
      const result = keptLines(document.lines, options).join('\n');
      const sentences = result.match(sentenceEnd)?.length ?? 0;
      if (sentences < options.minimumSentences) {
        return { drop: 'too few sentences', detail: `${sentences} < ${options.minimumSentences}` };
      }
      return result === text || result === text.trimEnd() ? keep : { text: result, change: 'lines removed' };
    },
  };
}

/** The lines that stay; a run of empty lines becomes one, none at the ends. */
function keptLines(lines: readonly string[], options: C4Options): string[] {
  const kept: string[] = [];
  for (const original of lines) {
    const line = options.removeCitationMarks ? original.replace(citation, '') : original;
    const trimmed = line.trim();
    if (trimmed === '') {
      if (kept.length > 0 && kept[kept.length - 1] !== '') kept.push('');
    } else if ((options.preserveMaths && hasMathsMarkup(trimmed)) || isSentenceLine(trimmed, options)) {
      kept.push(line);
    }
  }
  if (kept[kept.length - 1] === '') kept.pop();
  return kept;
}

function isSentenceLine(line: string, options: C4Options): boolean {
  if (options.requireTerminalPunctuation && (!terminal.test(line) || line.endsWith('...'))) return false;
  const words = line.split(/\s+/u);
  if (words.length < options.minimumWordsPerLine) return false;
  if (words.some((word) => word.length > options.maximumWordCharacters)) return false;
  const lowered = line.toLowerCase();
  if (options.removeJavascriptLines && lowered.includes('javascript')) return false;
  return !(options.removePolicyLines && policy.some((phrase) => lowered.includes(phrase)));
}
