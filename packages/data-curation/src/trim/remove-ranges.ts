/** Cuts character ranges out of a text and tidies the seams. */

export type TextRange = readonly [start: number, end: number];

/**
 * Ranges may overlap and come in any order. Where two pieces meet without whitespace, a line feed goes between them if one was cut there,
 * else a blank. Nothing but whitespace left gives an empty text.
 */
export function removeRanges(text: string, ranges: readonly TextRange[]): string {
  const sorted = ranges.filter(([start, end]) => end > start).sort((a, b) => a[0] - b[0]);
  let result = '';
  let at = 0;
  let cut = '';
  const append = (piece: string) => {
    if (piece === '') return;
    const meets = result !== '' && !/\s$/.test(result) && !/^\s/.test(piece);
    result += (meets ? (cut.includes('\n') ? '\n' : ' ') : '') + piece;
    cut = '';
  };
  for (const [start, end] of sorted) {
    if (start > at) append(text.slice(at, start));
    if (end > at) {
      cut += text.slice(Math.max(at, start), end);
      at = end;
    }
  }
  append(text.slice(at));
  return result.trim() === '' ? '' : result.replace(/\n{3,}/g, '\n\n');
}

/** Character range of each word, in the sense of `wordHashes`. */
export function wordRanges(text: string): TextRange[] {
  return [...text.matchAll(/[\p{L}\p{N}_]+/gu)].map((match) => [match.index, match.index + match[0].length]);
}
