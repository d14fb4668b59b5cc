/** Recognises maths in text, so that rules made for prose leave it alone. Cost: one regular expression a line. */

const mathsMarkup =
  /\$\$|\\\[|\\\]|\\\(|\\begin\{|\\end\{|\$[^$\n]{1,200}\$|\\(?:frac|sum|int|prod|sqrt|mathbb|mathcal|mathrm|left|right|text|label|item)\b/;

/** Whether a line holds TeX or is inside a displayed formula. */
export function hasMathsMarkup(line: string): boolean {
  return mathsMarkup.test(line);
}

/** Whether text uses TeX throughout: curly brackets in it are groups, not code. */
export function isTexText(text: string): boolean {
  return /\\begin\{[a-z*]+\}/.test(text) || (text.match(/\$[^$\n]{1,200}\$|\\\(|\\\[/g)?.length ?? 0) >= 3;
}
