/**
 * The number that a worked solution ends up with. A marked answer counts first: the first `#### n` (a model that goes on to
 * invent the next problem does so after it), else the last `\boxed{n}`, else the last "answer is n"; unmarked, the last number.
 */

/** 1,234.50 · 12 · .5 · 3/4, with a sign that no operand stands before (in `5-3` the minus is none), currency set aside. */
const numberPattern =
  /(?<![\w.])((?<![\w)\]]\s*)[-−+])?\s?[$€£]?((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:\/(\d+))?(?![\w])/g;
const hashMark = /####\s*([^\n]*)/;
const boxed = /\\boxed\s*\{([^{}]*)\}/g;
const answerIs = /\banswer(?:\s+is|\s*[:=])\s*:?(?=\s*([^\n]*))/gi;

export function extractNumericAnswer(text: string, extraction: 'marked' | 'any' = 'any'): string | undefined {
  const hash = hashMark.exec(text);
  if (hash) return numbersIn(hash[1])[0];
  for (const pattern of [boxed, answerIs]) {
    const last = [...text.matchAll(pattern)].at(-1);
    const found = last && numbersIn(last[1])[0];
    if (found !== undefined) return found;
  }
  return extraction === 'marked' ? undefined : numbersIn(text).at(-1);
}

/** Every number of a text in canonical form: no separators, no leading or trailing zeros, `-` for any minus. */
function numbersIn(text: string): string[] {
  return [...text.matchAll(numberPattern)].map(([, sign, digits, denominator]) => {
    const negative = sign === '-' || sign === '−' ? '-' : '';
    return `${negative}${canonical(digits)}${denominator === undefined ? '' : `/${canonical(denominator)}`}`;
  });
}

function canonical(digits: string): string {
  const [whole, fraction = ''] = digits.replaceAll(',', '').split('.');
  const significant = fraction.replace(/0+$/, '');
  const integer = whole.replace(/^0+(?=\d)/, '');
  return `${integer === '' ? '0' : integer}${significant === '' ? '' : `.${significant}`}`;
}

/** Equal as written, or as numbers to nine digits (`3/4` is 0.75). */
export function sameNumber(a: string, b: string): boolean {
  if (a === b) return true;
  const x = valueOf(a);
  const y = valueOf(b);
  // Past 2^53 two different integers can be the same double.
  if (/^-?\d{16,}$/.test(a) && /^-?\d{16,}$/.test(b)) return false;
  return Math.abs(x - y) <= 1e-9 * Math.max(Math.abs(x), Math.abs(y));
}

function valueOf(text: string): number {
  const [numerator, denominator] = text.split('/');
  return denominator === undefined ? Number(numerator) : Number(numerator) / Number(denominator);
}
