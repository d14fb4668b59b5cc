/**
 * The rules of C4 (Raffel et al. 2020, JMLR 21(140), section 2.2) for web prose. Lines: kept when they end in a terminal
 * punctuation mark, hold at least `minimumWordsPerLine` words and neither mention JavaScript nor look like a policy notice.
 * Documents: dropped when they hold a curly bracket or "lorem ipsum", or when fewer than `minimumSentences` sentences are left.
 * The paper's list of offensive words is not included (`blockedWords` takes one). Cost: one pass over the lines.
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep } from './filter.js';

export const c4FilterSchema = z.strictObject({
  filter: z.literal('c4'),
  domains: z.array(z.string()).optional(),
  requireTerminalPunctuation: z.boolean().default(true),
  minimumWordsPerLine: z.int().min(0).default(5),
  minimumSentences: z.int().min(0).default(3),
  dropCurlyBrackets: z.boolean().default(true),
  dropLoremIpsum: z.boolean().default(true),
  removeJavascriptLines: z.boolean().default(true),
  removePolicyLines: z.boolean().default(true),
  removeCitationMarks: z.boolean().default(true),
  /** A document holding one of these as a whole word, in any case, is dropped. */
  blockedWords: z.array(z.string()).default([]),
});

const terminal = /[.!?]["'”’)\]]?$|["”]$/u;
const policy = ['terms of use', 'privacy policy', 'cookie policy', 'uses cookies', 'use of cookies', 'use cookies'];
const citation = /\[(?:\d+|citation needed|edit)\]/gu;
const sentenceEnd = /[.!?]+(?=["'”’)\]]*(?:\s|$))/gu;

export function c4Filter(options: z.output<typeof c4FilterSchema>): DocumentFilter {
  const blocked = new Set(options.blockedWords.map((word) => word.toLowerCase()));
  return {
    name: 'c4',
    apply(document) {
      const { text } = document;
      if (options.dropCurlyBrackets && text.includes('{')) return { drop: 'curly bracket', detail: 'contains {' };
      const lowered = text.toLowerCase();
      if (options.dropLoremIpsum && lowered.includes('lorem ipsum')) {
        return { drop: 'lorem ipsum', detail: 'contains the filler text' };
      }
      if (blocked.size > 0) {
        const hit = lowered.match(/[\p{L}\p{N}]+/gu)?.find((word) => blocked.has(word));
        if (hit !== undefined) return { drop: 'blocked word', detail: hit };
      }
      const kept: string[] = [];
      for (const original of document.lines) {
        const line = options.removeCitationMarks ? original.replace(citation, '') : original;
        const trimmed = line.trim();
        if (trimmed === '') {
          if (kept.length > 0 && kept[kept.length - 1] !== '') kept.push('');
          continue;
        }
        if (options.requireTerminalPunctuation && (!terminal.test(trimmed) || trimmed.endsWith('...'))) continue;
        if (trimmed.split(/\s+/u).length < options.minimumWordsPerLine) continue;
        const lower = trimmed.toLowerCase();
        if (options.removeJavascriptLines && lower.includes('javascript')) continue;
        if (options.removePolicyLines && policy.some((phrase) => lower.includes(phrase))) continue;
        kept.push(line);
      }
      while (kept.length > 0 && kept[kept.length - 1] === '') kept.pop();
      const result = kept.join('\n');
      const sentences = result.match(sentenceEnd)?.length ?? 0;
      if (sentences < options.minimumSentences) {
        return { drop: 'too few sentences', detail: `${sentences} < ${options.minimumSentences}` };
      }
      return result === text || result === text.trimEnd() ? keep : { text: result, change: 'lines removed' };
    },
  };
}
