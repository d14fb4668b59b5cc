/**
 * Quality of a document as a logistic function of a few features, with weights set by hand: a documented prior for corpora that have
 * no labelled seeds. Each feature lies in [0, 1]; score = 1 / (1 + exp(-(bias + sum weight x feature))).
 *
 * Prose rewards sentences (lines that end in punctuation, stop words), a varied vocabulary and some length; it punishes shouting,
 * symbols, links and repeated lines. Code rewards comments, a varied vocabulary and moderate lines; it punishes long lines,
 * repeated lines, literal data and declarations without any comment.
 * Cost: one pass over the words and lines of at most the first 20,000 characters.
 */

export interface QualityFeatures {
  [name: string]: number;
}

const inspectedCharacters = 20_000;

const proseWeights: Readonly<Record<string, number>> = {
  bias: -2.2,
  stopWords: 2.6,
  punctuatedLines: 1.4,
  distinctWords: 1.2,
  length: 1.6,
  meanWordLength: 0.8,
  capitals: -2.5,
  symbols: -3.5,
  links: -2,
  repeatedLines: -3,
};

const codeWeights: Readonly<Record<string, number>> = {
  bias: -0.9,
  comments: 2.2,
  distinctWords: 1,
  length: 1,
  moderateLines: 1.4,
  repeatedLines: -2.5,
  longLines: -3,
  literals: -2.5,
};

const stopWords = new Set(
  'the be to of and a in that have it for not on with as you do at this but by from or an will if is are was can when which your use has its'.split(
    ' ',
  ),
);

/** In (0, 1), rounded to 4 decimals so that the last bits of exp() never reach a file. */
export function linearQuality(text: string, kind: 'prose' | 'code'): number {
  const features = kind === 'code' ? codeFeatures(text) : proseFeatures(text);
  const weights = kind === 'code' ? codeWeights : proseWeights;
  let sum = weights.bias;
  for (const [name, value] of Object.entries(features)) sum += weights[name] * value;
  return Math.round(10_000 / (1 + Math.exp(-sum))) / 10_000;
}

export function proseFeatures(text: string): QualityFeatures {
  const head = text.slice(0, inspectedCharacters);
  const words = head.match(/\S+/g) ?? [];
  const lines = head.split('\n').filter((line) => line.trim() !== '');
  let stops = 0;
  let letters = 0;
  let capitals = 0;
  let links = 0;
  const distinct = new Set<string>();
  for (const word of words) {
    // Longer runs are no words, and the expression below is quadratic in them.
    const bare = word
      .slice(0, 40)
      .toLowerCase()
      .replace(/^[^a-z]+|[^a-z]+$/g, '');
    if (stopWords.has(bare)) stops++;
    if (word.includes('://')) links++;
    letters += bare.length;
    distinct.add(bare);
    if (word.length > 2 && word === word.toUpperCase() && /[A-Z]{3}/.test(word)) capitals++;
  }
  const count = Math.max(1, words.length);
  const symbols = head.match(/[^\p{L}\p{N}\s.,;:!?'"()-]/gu)?.length ?? 0;
  const punctuated = lines.filter((line) => /[.!?:;)"'`]\s*$/.test(line)).length;
  return {
    stopWords: Math.min(1, stops / count / 0.35),
    punctuatedLines: punctuated / Math.max(1, lines.length),
    distinctWords: Math.min(1, distinct.size / Math.sqrt(2 * count) / 8),
    length: Math.min(1, Math.log10(count + 1) / 3.3),
    meanWordLength: Math.max(0, 1 - Math.abs(letters / count - 4.7) / 3),
    capitals: Math.min(1, capitals / count / 0.2),
    symbols: Math.min(1, symbols / Math.max(1, head.length) / 0.15),
    links: Math.min(1, links / count / 0.1),
    repeatedLines: repeatedShare(lines),
  };
}

export function codeFeatures(text: string): QualityFeatures {
  const head = text.slice(0, inspectedCharacters);
  const lines = head.split('\n').filter((line) => line.trim() !== '');
  let comment = 0;
  let moderate = 0;
  let long = 0;
  let literal = 0;
  for (const line of lines) {
    const trimmed = line.trim();
    if (/^(?:\/\/|\/\*|\*|#(?!include|define|if|endif)|--|"""|''')/.test(trimmed)) comment++;
    if (line.length >= 8 && line.length <= 100) moderate++;
    if (line.length > 140) long++;
    if (/^["'\d[\]{},.\s-]+$/.test(trimmed) && /["'\d]/.test(trimmed)) literal++;
  }
  const count = Math.max(1, lines.length);
  const words = head.match(/[A-Za-z_]\w+/g) ?? [];
  return {
    comments: Math.min(1, comment / count / 0.3),
    distinctWords: Math.min(1, new Set(words).size / Math.sqrt(2 * Math.max(1, words.length)) / 6),
    length: Math.min(1, Math.log10(count + 1) / 2.5),
    moderateLines: moderate / count,
    repeatedLines: repeatedShare(lines),
    longLines: Math.min(1, long / count / 0.2),
    literals: Math.min(1, literal / count / 0.5),
  };
}

function repeatedShare(lines: readonly string[]): number {
  const significant = lines.map((line) => line.trim()).filter((line) => line.length > 3);
  return significant.length === 0 ? 0 : 1 - new Set(significant).size / significant.length;
}
