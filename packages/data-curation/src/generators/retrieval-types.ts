/** Types of the generator of long-context retrieval text. */

export interface RetrievalTemplates {
  /** Planted sentence; holds `{name}` and `{value}`. */
  fact: string;
  /** Holds `{name}`. */
  question: string;
  /** What the answer begins with, up to the value; holds `{name}`. */
  answerPrefix: string;
  /** What follows the prefix; holds `{value}`. */
  answer: string;
}

export interface RetrievalDocumentOptions {
  seed: number;
  count: number;
  /** Documents to cut filler from, cycled; at least one with some sentences where `length` is given. */
  filler: readonly string[];
  /** Length of the whole document in the unit of `measure`. One number or a range to draw from; default: facts and questions alone. */
  length?: number | readonly [number, number];
  /**
   * Fill up to `length` as the whole document measures. By default sentences are measured apart, which is fast and leaves documents of a
   * tokenizer's tokens up to a fifth shorter. Costs some ten more measurements of a whole document.
   */
  fillWhole?: boolean;
  /** Length of a text; default its characters. Give the tokenizer's count for lengths in tokens. */
  measure?: (text: string) => number;
  /** Planted facts, smallest and largest; default [1, 8]. */
  facts?: readonly [number, number];
  /** Questions at the end, at most the number of facts; default 1. */
  questions?: number;
  /** Digits of the planted value; default 4. */
  valueDigits?: number;
  /** Plant one of these instead of digits: small models learn to copy a word long before four digits. */
  values?: readonly string[];
  templates?: RetrievalTemplates;
}

export interface RetrievalFact {
  name: string;
  value: string;
  /** Where the fact stands, as a share of the text before the questions, in [0, 1]. */
  depth: number;
}

export interface RetrievalDocument {
  id: string;
  /** Filler with the facts, then the questions with their answers. */
  text: string;
  facts: RetrievalFact[];
  questions: { question: string; answerPrefix: string; answer: string; value: string; depth: number }[];
}
