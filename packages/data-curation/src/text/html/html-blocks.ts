/**
 * HTML → blocks of visible text, in order. What is never text (scripts, styles, forms, navigation) is left out; code keeps its line
 * breaks; maths is kept as TeX: MathML with a TeX annotation, MathJax scripts, KaTeX. Tokens come from `htmlparser2`.
 * Memory: the blocks. Cost: one pass, whatever the page holds: nothing looks back over the text or over all attributes of an element.
 * Pages nested deeper than 512 elements are refused: they are bombs, not pages.
 */

import { Parser } from 'htmlparser2';
import { TextBuffer } from './text-buffer.js';

export type BlockKind = 'text' | 'heading' | 'item' | 'code' | 'maths' | 'row';

export interface HtmlBlock {
  kind: BlockKind;
  text: string;
  /** Characters of the text inside links. */
  linkCharacters: number;
  /** Inside the part that the page itself marks as its content: `main`, `article`, `role="main"`. */
  isMain: boolean;
}

/** A page that cannot be handled within limits. */
export class HtmlTooComplex extends Error {}

const maximumDepth = 512;
const pieceCharacters = 1 << 16;
const maximumBlocks = 200_000;
const skipped = new Set(
  'script style noscript template svg canvas iframe object embed form button select textarea input nav footer aside dialog menu audio video map head'.split(
    ' ',
  ),
);
const blockElements = new Set(
  'address article blockquote body center dd details div dl dt fieldset figcaption figure h1 h2 h3 h4 h5 h6 header hr html li main ol p pre section summary table tbody td tfoot th thead tr ul'.split(
    ' ',
  ),
);
const headings = new Set(['h1', 'h2', 'h3', 'h4', 'h5', 'h6']);
const displayStyle = '{\\displaystyle';
/** Parts of maths that repeat the formula for eyes only. */
const visualMaths = /\b(?:katex-html|MathJax(?:_Preview|_CHTML|_SVG)?|mjx-assistive-mml|mwe-math-fallback-image-\w+)\b/;

interface OpenElement {
  name: string;
  skip: boolean;
  isMain: boolean;
}

/** The only attributes that matter; the rest is not even held. */
const wantedAttributes = new Set(['class', 'display', 'encoding', 'hidden', 'role', 'style', 'type']);

export function htmlBlocks(html: string): HtmlBlock[] {
  const collector = new BlockCollector();
  // An element is opened by what comes after its attributes.
  let opening: { name: string; attributes: Record<string, string> } | undefined;
  const settle = () => {
    if (opening === undefined) return;
    const { name, attributes } = opening;
    opening = undefined;
    collector.open(name, attributes);
  };
  const parser = new Parser(
    {
      onopentagname: (name) => {
        settle();
        opening = { name, attributes: {} };
      },
      onattribute: (name, value) => {
        if (opening !== undefined && wantedAttributes.has(name)) opening.attributes[name] ??= value;
      },
      ontext: (text) => {
        settle();
        collector.text(text);
      },
      onclosetag: (name) => {
        settle();
        collector.close(name);
      },
    },
    { decodeEntities: true, lowerCaseTags: true },
  );
  parser.write(html);
  parser.end();
  return collector.finish();
}

/** Line by line: a list of millions of lines would be many times the text. */
function trimLines(text: string): string {
  if (!text.includes('\n')) return text;
  const trimmed = new TextBuffer();
  for (let start = 0; start <= text.length;) {
    const found = text.indexOf('\n', start);
    const end = found === -1 ? text.length : found;
    trimmed.add(text.slice(start, end).trim());
    if (found !== -1) trimmed.add('\n');
    start = end + 1;
  }
  return trimmed.take();
}

class BlockCollector {
  readonly #blocks: HtmlBlock[] = [];
  readonly #stack: OpenElement[] = [];
  #skipDepth = 0;
  #preDepth = 0;
  #linkDepth = 0;
  #mainDepth = 0;
  #kind: BlockKind = 'text';
  readonly #text = new TextBuffer();
  #linkCharacters = 0;
  /** TeX is collected while inside an annotation or a MathJax script. */
  #tex: TextBuffer | undefined;
  #isDisplayMaths = false;

  open(name: string, attributes: Record<string, string>): void {
    if (this.#stack.length >= maximumDepth)
      throw new HtmlTooComplex(`HTML nested deeper than ${maximumDepth} elements`);
    const isTexScript = name === 'script' && /^math\/tex/.test(attributes.type ?? '');
    const isTexAnnotation = name === 'annotation' && attributes.encoding === 'application/x-tex';
    if ((isTexScript || isTexAnnotation) && this.#skipDepth <= (isTexAnnotation ? 1 : 0)) {
      this.#tex = new TextBuffer();
      this.#isDisplayMaths ||= /mode=display/.test(attributes.type ?? '');
    }
    if (name === 'math') this.#isDisplayMaths = attributes.display === 'block';
    // Wikipedia hides the MathML that holds the TeX.
    const isHiddenMaths = name === 'math' || /mwe-math-mathml/.test(attributes.class ?? '');
    const hidden =
      !isHiddenMaths && (attributes.hidden !== undefined || /display\s*:\s*none/.test(attributes.style ?? ''));
    // Inside <math>, only the annotation is wanted.
    const skip =
      (skipped.has(name) && !isTexScript) || name === 'math' || visualMaths.test(attributes.class ?? '') || hidden;
    const isMain = name === 'main' || name === 'article' || attributes.role === 'main';
    this.#stack.push({ name, skip, isMain });
    if (skip) this.#skipDepth++;
    if (this.#skipDepth > 0 || isTexScript) return;
    if (name === 'br') this.#text.add('\n');
    if (name === 'a') this.#linkDepth++;
    if (name === 'td' || name === 'th') {
      if (!this.#text.isEmpty) this.#text.add(' | ');
    } else if (blockElements.has(name)) {
      this.#endBlock();
      if (headings.has(name)) this.#kind = 'heading';
      else if (name === 'li') this.#kind = 'item';
      else if (name === 'tr') this.#kind = 'row';
      else if (name === 'pre') this.#kind = 'code';
    }
    if (name === 'pre') this.#preDepth++;
    if (isMain) {
      this.#endBlock();
      this.#mainDepth++;
    }
  }

  text(text: string): void {
    if (this.#tex !== undefined) {
      this.#tex.add(text);
      return;
    }
    if (this.#skipDepth > 0) return;
    // A replacement costs 16 bytes for each match until it is done.
    for (let start = 0; start < text.length; start += pieceCharacters) {
      this.#addVisible(text.slice(start, start + pieceCharacters));
    }
  }

  #addVisible(text: string): void {
    const piece = this.#preDepth > 0 ? text : text.replace(/\s+/g, ' ');
    const added = this.#preDepth === 0 && this.#text.isAtSpace ? piece.trimStart() : piece;
    this.#text.add(added);
    if (this.#linkDepth > 0) this.#linkCharacters += added.trim().length;
  }

  close(name: string): void {
    const element = this.#stack.pop();
    if (element === undefined) return;
    if (this.#tex !== undefined && (name === 'annotation' || name === 'script')) this.#addTex(this.#tex.take());
    if (element.skip) {
      this.#skipDepth--;
      return;
    }
    if (this.#skipDepth > 0) return;
    if (name === 'a') this.#linkDepth--;
    if (name === 'pre') this.#preDepth--;
    if (element.isMain) {
      this.#endBlock();
      this.#mainDepth--;
    }
    if (blockElements.has(name) && name !== 'td' && name !== 'th') this.#endBlock();
  }

  finish(): HtmlBlock[] {
    this.#endBlock();
    return this.#blocks;
  }

  #addTex(tex: string): void {
    this.#tex = undefined;
    // Wikipedia wraps every formula in \displaystyle.
    const trimmed = tex.trim();
    const isWrapped = trimmed.startsWith(displayStyle) && trimmed.endsWith('}');
    const formula = isWrapped ? trimmed.slice(displayStyle.length, -1).trim() : trimmed;
    if (formula === '') return;
    if (!this.#isDisplayMaths) {
      this.#text.add(`$${formula}$`);
      return;
    }
    this.#isDisplayMaths = false;
    const kind = this.#kind;
    this.#endBlock();
    this.#text.add(`$$${formula}$$`);
    this.#kind = 'maths';
    this.#endBlock();
    this.#kind = kind;
  }

  #endBlock(): void {
    const taken = this.#text.take();
    const text = this.#kind === 'code' ? taken.replace(/^\n+/, '').trimEnd() : trimLines(taken).trim();
    if (text !== '') {
      const linkCharacters = this.#linkCharacters;
      this.#blocks.push({ kind: this.#kind, text, linkCharacters, isMain: this.#mainDepth > 0 });
      if (this.#blocks.length > maximumBlocks) throw new HtmlTooComplex(`HTML with more than ${maximumBlocks} blocks`);
    }
    this.#linkCharacters = 0;
    this.#kind = 'text';
  }
}
