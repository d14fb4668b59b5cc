/**
 * A document on its way through the filters: its text, what is known about it, and features that several filters share,
 * each computed once, on first use, and forgotten when a filter changes the text.
 */

export type DocumentKind = 'prose' | 'code' | 'maths';

export interface CandidateFields {
  id: string;
  source: string;
  /** Path inside the source, used for file-type rules; empty when there is none. */
  path: string;
  text: string;
  license?: string;
}

export class CandidateDocument {
  readonly id: string;
  readonly source: string;
  readonly path: string;
  license: string;
  domain = 'other';
  language = 'und';
  #text: string;
  #words: string[] | undefined;
  #lines: string[] | undefined;

  constructor(fields: CandidateFields) {
    this.id = fields.id;
    this.source = fields.source;
    this.path = fields.path;
    this.license = fields.license ?? 'unknown';
    this.#text = fields.text;
  }

  get text(): string {
    return this.#text;
  }

  set text(value: string) {
    this.#text = value;
    this.#words = undefined;
    this.#lines = undefined;
  }

  /** Maximal runs of non-whitespace. */
  get words(): readonly string[] {
    this.#words ??= this.#text.match(/\S+/gu) ?? [];
    return this.#words;
  }

  /** Lines without their line feeds; a trailing line feed adds no empty line. */
  get lines(): readonly string[] {
    if (this.#lines === undefined) {
      const lines = this.#text.split('\n');
      if (lines.length > 1 && lines[lines.length - 1] === '') lines.pop();
      this.#lines = lines;
    }
    return this.#lines;
  }
}
