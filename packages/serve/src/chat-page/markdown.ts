/**
 * The little Markdown that chat models write, as a tree: fenced code, headings, lists, paragraphs; inside them code, bold and
 * italics. What is not understood stays text, so that half an answer shows as well as a whole one. Nothing becomes HTML here.
 */

export interface MarkdownNode {
  tag: 'p' | 'pre' | 'h3' | 'ul' | 'ol' | 'li' | 'code' | 'strong' | 'em' | 'br';
  children: (MarkdownNode | string)[];
}

const fence = /^\s{0,3}```/;
const heading = /^#{1,6}\s+(.*)$/;
const bullet = /^\s{0,6}[-*+]\s+(.*)$/;
const numbered = /^\s{0,6}\d{1,3}[.)]\s+(.*)$/;

export function parseMarkdown(text: string): MarkdownNode[] {
  const lines = text.split('\n');
  const blocks: MarkdownNode[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (fence.test(line)) {
      let end = at + 1;
      while (end < lines.length && !fence.test(lines[end])) end++;
      blocks.push({ tag: 'pre', children: [{ tag: 'code', children: [lines.slice(at + 1, end).join('\n')] }] });
      at = end + 1;
    } else if (line.trim() === '') {
      at++;
    } else if (heading.test(line)) {
      blocks.push({ tag: 'h3', children: parseInline(heading.exec(line)?.[1] ?? '') });
      at++;
    } else if (bullet.test(line) || numbered.test(line)) {
      const pattern = bullet.test(line) ? bullet : numbered;
      const items: MarkdownNode[] = [];
      for (let match = pattern.exec(line); match; match = pattern.exec(lines[at] ?? '')) {
        items.push({ tag: 'li', children: parseInline(match[1]) });
        at++;
      }
      blocks.push({ tag: pattern === bullet ? 'ul' : 'ol', children: items });
    } else {
      const start = at;
      while (at < lines.length && lines[at].trim() !== '' && !(at > start && startsBlock(lines[at]))) at++;
      blocks.push({ tag: 'p', children: withBreaks(lines.slice(start, at)) });
    }
  }
  return blocks;
}

const startsBlock = (line: string): boolean =>
  fence.test(line) || heading.test(line) || bullet.test(line) || numbered.test(line);

function withBreaks(lines: readonly string[]): (MarkdownNode | string)[] {
  return lines.flatMap((line, i) => [...(i > 0 ? [{ tag: 'br' as const, children: [] }] : []), ...parseInline(line)]);
}

const inline = /`([^`]+)`|\*\*(?=\S)(.+?)(?<=\S)\*\*|\*(?=[^\s*])([^*]+?)(?<=\S)\*/;

export function parseInline(text: string): (MarkdownNode | string)[] {
  const match = inline.exec(text);
  if (!match) return text === '' ? [] : [text];
  const [whole, code, bold, italic] = match;
  const before = text.slice(0, match.index);
  const node: MarkdownNode =
    code !== undefined
      ? { tag: 'code', children: [code] }
      : { tag: bold !== undefined ? 'strong' : 'em', children: parseInline(bold ?? italic) };
  return [...(before === '' ? [] : [before]), node, ...parseInline(text.slice(match.index + whole.length))];
}
