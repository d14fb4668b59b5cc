import { describe, expect, it } from 'vitest';
import { parseInline, parseMarkdown, type MarkdownNode } from './markdown.js';

const flat = (nodes: (MarkdownNode | string)[]): string =>
  nodes.map((node) => (typeof node === 'string' ? node : `<${node.tag}>${flat(node.children)}</${node.tag}>`)).join('');

describe('parseMarkdown', () => {
  it('knows paragraphs, headings, lists and code', () => {
    const text =
      '# Title\nSome *text*\nhere\n\n- one\n- **two**\n\n1. first\n2) second\n\n```js\na < b\n\n- c\n```\nend';
    expect(flat(parseMarkdown(text))).toBe(
      '<h3>Title</h3><p>Some <em>text</em><br></br>here</p><ul><li>one</li><li><strong>two</strong></li></ul>' +
        '<ol><li>first</li><li>second</li></ol><pre><code>a < b\n\n- c</code></pre><p>end</p>',
    );
  });

  it('shows an unfinished answer without losing any of it', () => {
    expect(flat(parseMarkdown('See:\n```py\nprint('))).toBe('<p>See:</p><pre><code>print(</code></pre>');
    expect(flat(parseMarkdown('a **b'))).toBe('<p>a **b</p>');
  });

  it('leaves what is no markup alone', () => {
    expect(flat(parseInline('2 * 3 * 4 and 5*6*7 <b>no</b>'))).toBe('2 * 3 * 4 and 5<em>6</em>7 <b>no</b>');
    expect(parseMarkdown('')).toEqual([]);
    expect(parseInline('`**x**`')).toEqual([{ tag: 'code', children: ['**x**'] }]);
  });
});
