/**
 * Scores of a short answer against references; the best reference counts. Exact match and token F1 after SQuAD's normalisation
 * (arXiv 1606.05250, section 6.1: case, punctuation, articles and spaces set aside); ROUGE-L after Lin (2004), section 3.1, with
 * beta = 1 and no stemming.
 */

export function exactMatch(prediction: string, references: readonly string[]): number {
  const normalized = normalize(prediction);
  return references.some((reference) => normalize(reference) === normalized) ? 1 : 0;
}

export function tokenF1(prediction: string, references: readonly string[]): number {
  return best(references, (reference) => {
    const predicted = wordsOf(normalize(prediction));
    const wanted = wordsOf(normalize(reference));
    if (predicted.length === 0 || wanted.length === 0) return predicted.length === wanted.length ? 1 : 0;
    const left = new Map<string, number>();
    for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
    let common = 0;
    for (const word of predicted) {
      const count = left.get(word) ?? 0;
      if (count > 0) {
        common++;
        left.set(word, count - 1);
      }
    }
    return harmonicMean(common / predicted.length, common / wanted.length);
  });
}

export function rougeL(prediction: string, references: readonly string[]): number {
  const predicted = alphanumericWords(prediction);
  return best(references, (reference) => {
    const wanted = alphanumericWords(reference);
    if (predicted.length === 0 || wanted.length === 0) return 0;
    const common = longestCommonSubsequence(predicted, wanted);
    return harmonicMean(common / predicted.length, common / wanted.length);
  });
}

const best = (references: readonly string[], score: (reference: string) => number): number =>
  references.reduce((highest, reference) => Math.max(highest, score(reference)), 0);

const harmonicMean = (precision: number, recall: number): number =>
  precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall);

function normalize(text: string): string {
  return text
    .toLowerCase()
    .replace(/[\p{P}\p{S}]/gu, '')
    .replace(/\b(?:a|an|the)\b/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

const wordsOf = (text: string): string[] => (text === '' ? [] : text.split(' '));

const alphanumericWords = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** O(a·b) time, O(b) memory. */
function longestCommonSubsequence(a: readonly string[], b: readonly string[]): number {
  let previous = new Uint32Array(b.length + 1);
  let current = new Uint32Array(b.length + 1);
  for (const word of a) {
    for (let j = 1; j <= b.length; j++) {
      current[j] = word === b[j - 1] ? previous[j - 1] + 1 : Math.max(previous[j], current[j - 1]);
    }
    [previous, current] = [current, previous];
  }
  return previous[b.length];
}
