/**
 * The domain of a document by rules: its file name where it has one, else what its lines look like. Domains: `code`,
 * `documentation`, `maths`, `other`. Cost: one pass over at most the first 20,000 characters.
 */

import type { CandidateDocument } from '../text/candidate.js';
import { codeLanguageOf, extensionOf, isProsePath } from '../text/file-kinds.js';

const inspectedCharacters = 20_000;
const codeLine =
  /[;{}]\s*$|^\s*(?:import|from|export|def|class|function|const|let|var|return|if|for|while|switch|case|else|elif|try|except|public|private|protected|static|void|int|struct|package|use|fn|impl|func|#include|#define|@\w+)\b.*[:;{}(),=]|^\s*(?:\/\/|\/\*|\*\/)|=>\s*$|^\s*\w+\([^)]*\)[;:]?\s*$/;
const texCommand =
  /\\(?:begin|end|frac|sum|int|prod|lim|alpha|beta|gamma|lambda|theta|mathbb|mathcal|mathrm|mathfrak|text|sqrt|partial|cdot|times|leq|geq|in|subset|label|ref|to|rightarrow|overline|operatorname)\b/g;
const equation = /\d\s*[-+*/×÷]\s*\d+(?:\.\d+)?\s*=\s*-?\$?\d/g;
const mathsWord =
  /\b(?:theorem|lemma|proof|corollary|equation|polynomial|integer|derivative|integral|matrix|vector space|isomorphism|morphism|solve|how many|in total|altogether)\b/gi;
const documentationCue =
  /^#{1,6} \S|^```|^\s*[-*] `|\b(?:npm install|pip install|usage|parameters?|returns?|options?|default|deprecated|api|configuration|install(?:ation)?|example|documentation|command|argument|function|module|package)\b/gim;

export function classifyDomain(document: CandidateDocument): string {
  const head = document.text.slice(0, inspectedCharacters);
  const extension = extensionOf(document.path);
  if (extension === 'tex' || extension === 'bib') return 'maths';
  if (codeLanguageOf(document.path) !== undefined) return 'code';
  const thousands = Math.max(0.2, head.length / 1000);
  if (isMaths(head, thousands)) return 'maths';
  if (isProsePath(document.path)) return 'documentation';
  let lines = 0;
  let codeLines = 0;
  for (const line of head.split('\n')) {
    if (line.trim() === '') continue;
    lines++;
    if (codeLine.test(line)) codeLines++;
  }
  if (lines >= 3 && codeLines > 0.35 * lines) return 'code';
  const cues = head.match(documentationCue)?.length ?? 0;
  return cues >= 3 && cues / thousands > 3 ? 'documentation' : 'other';
}

function isMaths(head: string, thousands: number): boolean {
  const commands = head.match(texCommand)?.length ?? 0;
  const equations = head.match(equation)?.length ?? 0;
  const words = head.match(mathsWord)?.length ?? 0;
  return commands / thousands > 6 || equations / thousands > 3 || (words / thousands > 5 && commands + equations > 0);
}
