/**
 * The quality rules of Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1) for English prose: number of words, mean
 * word length, symbols, bullet points, ellipses, alphabetic words, stop words. Words are runs of non-whitespace.
 * Cost: one pass over the words and one over the lines.
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep, percent } from './filter.js';

export const gopherQualityFilterSchema = z.strictObject({
  filter: z.literal('gopherQuality'),
  domains: z.array(z.string()).optional(),
  minimumWords: z.int().min(0).default(50),
  maximumWords: z.int().min(1).default(100_000),
  minimumMeanWordLength: z.number().min(0).default(3),
  maximumMeanWordLength: z.number().min(0).default(10),
  /** Hash signs, and separately ellipses, for each word. */
  maximumSymbolsPerWord: z.number().min(0).default(0.1),
  maximumBulletLines: z.number().min(0).max(1).default(0.9),
  maximumEllipsisLines: z.number().min(0).max(1).default(0.3),
  minimumAlphabeticWords: z.number().min(0).max(1).default(0.8),
  /** How many different words of `stopWords` have to occur. */
  minimumStopWords: z.int().min(0).default(2),
  stopWords: z.array(z.string()).default(['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with']),
});

const alphabetic = /\p{L}/u;
const bullet = /^\s*[•‣▶◦▪●○■□*\-–]/u;
const edgePunctuation = /^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu;

export function gopherQualityFilter(options: z.output<typeof gopherQualityFilterSchema>): DocumentFilter {
  const stopWords = new Set(options.stopWords.map((word) => word.toLowerCase()));
  return {
    name: 'gopherQuality',
    apply(document) {
      const { words } = document;
      if (words.length < options.minimumWords) {
        return { drop: 'too few words', detail: `${words.length} words < ${options.minimumWords}` };
      }
      if (words.length > options.maximumWords) {
        return { drop: 'too many words', detail: `${words.length} words > ${options.maximumWords}` };
      }
      let letters = 0;
      let withLetter = 0;
      const seenStopWords = new Set<string>();
      for (const word of words) {
        letters += word.length;
        if (alphabetic.test(word)) withLetter++;
        if (seenStopWords.size < options.minimumStopWords && word.length <= 12) {
          const bare = word.replace(edgePunctuation, '').toLowerCase();
          if (stopWords.has(bare)) seenStopWords.add(bare);
        }
      }
      const meanLength = letters / words.length;
      if (meanLength < options.minimumMeanWordLength) {
        return { drop: 'words too short', detail: `mean ${meanLength.toFixed(2)} < ${options.minimumMeanWordLength}` };
      }
      if (meanLength > options.maximumMeanWordLength) {
        return { drop: 'words too long', detail: `mean ${meanLength.toFixed(2)} > ${options.maximumMeanWordLength}` };
      }
      const { text } = document;
      const hashes = countOccurrences(text, '#') / words.length;
      const ellipses = (countOccurrences(text, '...') + countOccurrences(text, '…')) / words.length;
      if (hashes > options.maximumSymbolsPerWord) {
        return { drop: 'too many hashes', detail: `${hashes.toFixed(3)} a word > ${options.maximumSymbolsPerWord}` };
      }
      if (ellipses > options.maximumSymbolsPerWord) {
        return {
          drop: 'too many ellipses',
          detail: `${ellipses.toFixed(3)} a word > ${options.maximumSymbolsPerWord}`,
        };
      }
      let bullets = 0;
      let endingInEllipsis = 0;
      let lineCount = 0;
      for (const line of document.lines) {
        const trimmed = line.trimEnd();
        if (trimmed === '') continue;
        lineCount++;
        if (bullet.test(trimmed)) bullets++;
        if (trimmed.endsWith('...') || trimmed.endsWith('…')) endingInEllipsis++;
      }
      const bulletShare = bullets / Math.max(1, lineCount);
      if (bulletShare > options.maximumBulletLines) {
        return { drop: 'mostly bullets', detail: `${percent(bulletShare)} > ${percent(options.maximumBulletLines)}` };
      }
      const ellipsisShare = endingInEllipsis / Math.max(1, lineCount);
      if (ellipsisShare > options.maximumEllipsisLines) {
        return {
          drop: 'lines end in ellipses',
          detail: `${percent(ellipsisShare)} > ${percent(options.maximumEllipsisLines)}`,
        };
      }
      const alphabeticShare = withLetter / words.length;
      if (alphabeticShare < options.minimumAlphabeticWords) {
        return {
          drop: 'too few alphabetic words',
          detail: `${percent(alphabeticShare)} < ${percent(options.minimumAlphabeticWords)}`,
        };
      }
      if (seenStopWords.size < options.minimumStopWords) {
        return { drop: 'no stop words', detail: `${seenStopWords.size} < ${options.minimumStopWords}` };
      }
      return keep;
    },
  };
}

function countOccurrences(text: string, needle: string): number {
  let count = 0;
  for (let at = text.indexOf(needle); at !== -1; at = text.indexOf(needle, at + needle.length)) count++;
  return count;
}
