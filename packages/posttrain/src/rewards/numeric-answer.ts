/**
 * Numbers in answers, GSM8K's way: the number after the first `####`, so that nobody is paid for a second guess. Compared exactly, as decimal numerals, never as
 * floats: "1,234.50" equals "1234.5", and integers of any size stay apart.
 */
import { PosttrainError } from '../errors.js';
import type { Prompt } from '../data/records.js';
import type { Verifier } from './types.js';

const sign = '[-+\\u2212]?';
const digits = '(?:\\d{1,3}(?:,\\d{3})+|\\d+)(?:\\.\\d+)?|\\.\\d+';
// Not inside a longer numeral or a word: "12.5.7", "1,23" and "12th" hold no number.
const end = '(?![\\w]|[.,]\\d)';
const markedNumber = new RegExp(`^[ \\t]*(${sign})[ \\t]*\\$?[ \\t]*(${digits})${end}`, 'u');
const anyNumber = new RegExp(`(?<![\\w.,])(${sign})\\$?(${digits})${end}`, 'gu');

/** "+1,234.50" → "1234.5", "−0" → "0", ".5" → "0.5". */
function canonical(signText: string, digitText: string): string {
  const [whole = '', fraction = ''] = digitText.replaceAll(',', '').split('.');
  const integer = whole.replace(/^0+(?=\d)/, '') || '0';
  const decimals = fraction.replace(/0+$/, '');
  const magnitude = decimals === '' ? integer : `${integer}.${decimals}`;
  const negative = signText === '-' || signText === '\u2212';
  return negative && magnitude !== '0' ? `-${magnitude}` : magnitude;
}

export interface NumericAnswerOptions {
  /** Where there is no `####` with a number, take the text's last number; default false. */
  lastNumberFallback?: boolean;
}

/** The final answer of `text` as a canonical decimal numeral, or undefined where it gives none. */
export function extractNumericAnswer(
  text: string,
  { lastNumberFallback = false }: NumericAnswerOptions = {},
): string | undefined {
  const marker = text.indexOf('####');
  const marked = marker < 0 ? null : markedNumber.exec(text.slice(marker + 4));
  if (marked) return canonical(marked[1], marked[2]);
  if (!lastNumberFallback) return undefined;
  let last: RegExpExecArray | undefined;
  for (const match of text.matchAll(anyNumber)) last = match;
  return last && canonical(last[1], last[2]);
}

/** The prompt's right answer: a number, a numeral, or a solution that ends in `#### <number>`. */
function expectedAnswer(prompt: Prompt, field: string): string {
  const value = prompt[field];
  const text = typeof value === 'number' && Number.isFinite(value) ? decimal(value) : value;
  const answer =
    typeof text === 'string' ? extractNumericAnswer(text.includes('####') ? text : `#### ${text.trim()}`) : undefined;
  if (answer !== undefined) return answer;
  throw new PosttrainError(
    'MISSING_FIELD',
    `The field "${field}" of the prompt ${JSON.stringify(prompt.prompt).slice(0, 200)} holds no number.`,
    { value, remedy: `Give every prompt a "${field}" with a number, or a solution ending in "#### <number>".` },
  );
}

/** Without an exponent, as far as float64 goes. */
function decimal(value: number): string {
  const text = String(value);
  return text.includes('e') ? (Math.abs(value) < 1 ? value.toFixed(20) : BigInt(value).toString()) : text;
}

/** Right where the completion's number equals the prompt's `field` (default "answer"). */
export function numericAnswerVerifier({
  field = 'answer',
  lastNumberFallback = false,
}: NumericAnswerOptions & { field?: string } = {}): Verifier {
  return {
    name: 'numeric answer',
    verify: (prompt, completion) =>
      expectedAnswer(prompt, field) === extractNumericAnswer(completion.text, { lastNumberFallback }),
  };
}
