/** The answer a worked solution ends with, in GSM8K's convention (Cobbe et al. 2021, arXiv:2110.14168): `#### <number>`. */

const finalAnswer = /####\s*([-−+]?)\s*\$?\s*([-−]?)\s*(\d[\d,]*(?:\.\d+)?)/;

/**
 * The number after the first `####`, without thousands separators or a dollar sign; undefined when there is none. What follows
 * the first answer (a model that goes on with another problem) does not count.
 */
export function extractFinalAnswer(text: string): number | undefined {
  const match = finalAnswer.exec(text);
  if (match === null) return undefined;
  const value = Number(match[3].replaceAll(',', ''));
  if (!Number.isFinite(value)) return undefined;
  const negative = match[1] === '-' || match[1] === '−' || match[2] !== '';
  return negative && value !== 0 ? -value : value;
}
