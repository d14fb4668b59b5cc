/**
 * Reads a Python literal (lists, tuples, dicts, strings, numbers, None, True, False), which LooGLE's files hold in place of
 * JSON. Nothing is evaluated. One pass.
 */

import { EvaluationError } from '../errors.js';

export type PythonValue = string | number | boolean | null | PythonValue[] | { [key: string]: PythonValue };

const escapes: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
};

export function parsePythonLiteral(text: string): PythonValue {
  const reader = new Reader(text);
  const value = reader.value();
  reader.end();
  return value;
}

class Reader {
  private position = 0;

  constructor(private readonly text: string) {}

  value(): PythonValue {
    this.space();
    const start = this.text[this.position];
    if (start === '[') return this.items('[', ']');
    if (start === '(') return this.items('(', ')');
    if (start === '{') return this.dictionary();
    if (start === "'" || start === '"') return this.strings();
    return this.atom();
  }

  end(): void {
    this.space();
    if (this.position < this.text.length) this.fail('the end');
  }

  private items(open: string, close: string): PythonValue[] {
    this.expect(open);
    const values: PythonValue[] = [];
    while (!this.take(close)) {
      values.push(this.value());
      if (!this.take(',')) {
        this.expect(close);
        break;
      }
    }
    return values;
  }

  private dictionary(): { [key: string]: PythonValue } {
    this.expect('{');
    const entries: [string, PythonValue][] = [];
    while (!this.take('}')) {
      const key = this.value();
      if (typeof key !== 'string' && typeof key !== 'number') this.fail('a string or number as key');
      this.expect(':');
      entries.push([String(key), this.value()]);
      if (!this.take(',')) {
        this.expect('}');
        break;
      }
    }
    return Object.fromEntries(entries);
  }

  /** Adjacent strings are one. */
  private strings(): string {
    let joined = '';
    for (let quote = this.text[this.position]; quote === "'" || quote === '"'; quote = this.text[this.position]) {
      joined += this.string(quote);
      this.space();
    }
    return joined;
  }

  private string(quote: string): string {
    this.position++;
    let value = '';
    for (;;) {
      const character = this.text[this.position++];
      if (character === undefined) this.fail('the closing quote');
      if (character === quote) return value;
      value += character === '\\' ? this.escape() : character;
    }
  }

  private escape(): string {
    const name = this.text[this.position++];
    const length = { x: 2, u: 4, U: 8 }[name];
    if (length === undefined) return escapes[name] ?? `\\${name ?? ''}`;
    const digits = this.text.slice(this.position, this.position + length);
    const code = Number.parseInt(digits, 16);
    if (digits.length < length || !(code <= 0x10ffff)) this.fail(`${length} hexadecimal digits`);
    this.position += length;
    return String.fromCodePoint(code);
  }

  private atom(): PythonValue {
    const match = /^(None|True|False|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)/.exec(
      this.text.slice(this.position, this.position + 40),
    );
    if (!match) this.fail('a literal');
    this.position += match[0].length;
    if (match[0] === 'None') return null;
    if (match[0] === 'True' || match[0] === 'False') return match[0] === 'True';
    return Number(match[0]);
  }

  private take(character: string): boolean {
    this.space();
    if (this.text[this.position] !== character) return false;
    this.position++;
    return true;
  }

  private expect(character: string): void {
    if (!this.take(character)) this.fail(`"${character}"`);
  }

  private space(): void {
    while (/\s/.test(this.text[this.position] ?? '')) this.position++;
  }

  private fail(expected: string): never {
    const near = this.text.slice(Math.max(0, this.position - 20), this.position + 20);
    throw new EvaluationError(
      'INVALID_DATA',
      `A Python literal needs ${expected} at character ${this.position}, near ${JSON.stringify(near)}.`,
      { value: near },
    );
  }
}
