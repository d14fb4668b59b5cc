/**
 * Text → sparse features for a linear classifier: hashed n-grams, as in fastText (Joulin et al. 2017, arXiv:1607.01759). Two views of a
 * text, so that two models see different evidence: `words` (runs of letters and digits, and single punctuation marks; 1- and
 * 2-grams) and `characters` (3- to 5-grams over lower-cased text with blanks folded). Values are 1 + log(count), scaled to length 1.
 * Deterministic. Cost: about 60 ns an n-gram. Not for concurrent use.
 */

export type FeatureView = 'words' | 'characters';

export interface SparseVector {
  indices: Int32Array;
  values: Float32Array;
}

const maximumTokens = 2000;
const maximumCharacters = 6000;
/** UTF-16 units of a text that a classifier looks at. */
export const visibleCharacters = maximumTokens * 20;
const token = /[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;

export class FeatureExtractor {
  readonly #view: FeatureView;
  readonly #mask: number;
  readonly #counts: Uint16Array;
  #touched = new Int32Array(1024);
  #size = 0;

  /** @param buckets A power of two. */
  constructor(view: FeatureView, buckets: number) {
    this.#view = view;
    this.#mask = buckets - 1;
    this.#counts = new Uint16Array(buckets);
  }

  extract(text: string): SparseVector {
    this.#size = 0;
    if (this.#view === 'words') this.#addWords(text);
    else this.#addCharacters(text);
    const indices = this.#touched.slice(0, this.#size).sort();
    const values = new Float32Array(this.#size);
    let squares = 0;
    for (let at = 0; at < indices.length; at++) {
      const count = this.#counts[indices[at]];
      const value = count === 1 ? 1 : 1 + Math.log(count);
      this.#counts[indices[at]] = 0;
      values[at] = value;
      squares += value * value;
    }
    const scale = squares === 0 ? 0 : 1 / Math.sqrt(squares);
    for (let at = 0; at < values.length; at++) values[at] *= scale;
    return { indices, values };
  }

  #addWords(text: string): void {
    const tokens = text.slice(0, visibleCharacters).toLowerCase().match(token) ?? [];
    let previous = 0;
    for (let at = 0; at < tokens.length && at < maximumTokens; at++) {
      const word = tokens[at];
      let hash = 0x811c9dc5;
      for (let index = 0; index < word.length; index++) hash = Math.imul(hash ^ word.charCodeAt(index), 0x01000193);
      this.#count(hash);
      if (at > 0) this.#count(Math.imul(previous, 0x9e3779b1) ^ hash);
      previous = hash;
    }
  }

  #addCharacters(text: string): void {
    const folded = text.slice(0, maximumCharacters).toLowerCase().replace(/\s+/g, ' ');
    for (let start = 0; start < folded.length; start++) {
      let hash = 0x811c9dc5;
      const end = Math.min(folded.length, start + 5);
      for (let index = start; index < end; index++) {
        hash = Math.imul(hash ^ folded.charCodeAt(index), 0x01000193);
        if (index - start >= 2) this.#count(hash);
      }
    }
  }

  #count(hash: number): void {
    let mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    mixed ^= mixed >>> 13;
    const index = mixed & this.#mask;
    if (this.#counts[index] === 0) {
      if (this.#size === this.#touched.length) {
        const larger = new Int32Array(this.#size * 2);
        larger.set(this.#touched);
        this.#touched = larger;
      }
      this.#touched[this.#size++] = index;
    }
    if (this.#counts[index] < 65_535) this.#counts[index]++;
  }
}
