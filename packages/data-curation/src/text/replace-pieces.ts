/**
 * Replacement in a text of any size. `String.replace` gives a string that remembers its parts, some 64 bytes for every match: for millions of
 * matches many times the text. Here a piece at a time is replaced. Cost: that of the replacement.
 */

const pieceCharacters = 1 << 16;

/** `mayCut(before, after)`: whether no match spans two characters of these codes. */
export function replaceInPieces(
  text: string,
  mayCut: (before: number, after: number) => boolean,
  replace: (piece: string) => string,
): string {
  if (text.length <= pieceCharacters) return replace(text);
  const pieces: string[] = [];
  for (let start = 0; start < text.length;) {
    let end = Math.min(text.length, start + pieceCharacters);
    while (end < text.length && !mayCut(text.charCodeAt(end - 1), text.charCodeAt(end))) end++;
    const piece = replace(text.slice(start, end));
    // Looking at a character makes V8 put the parts together.
    if (piece.length > 0) piece.charCodeAt(0);
    pieces.push(piece);
    start = end;
  }
  return pieces.join('');
}
