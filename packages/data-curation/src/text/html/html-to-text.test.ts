import { describe, expect, it } from 'vitest';
import { growthOf, linear } from '../../../test/growth.js';
import { HtmlTooComplex } from './html-blocks.js';
import { htmlToText } from './html-to-text.js';

const all = (html: string) => htmlToText(html, { removeBoilerplate: false });
const main = (html: string) => htmlToText(html, { removeBoilerplate: true });

describe('htmlToText', () => {
  it('keeps visible text in blocks, and nothing else', () => {
    const html = `<html><head><title>T</title><style>p{}</style></head><body><script>var x = '<p>no</p>';</script>
      <h1>A   title</h1><p>One <b>bold</b>&nbsp;word &amp; <i>another</i>.<br>Next line.</p>
      <ul><li>first</li><li>second</li></ul><table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>
      <p hidden>secret</p><div style="display: none">secret</div><noscript>turn on</noscript></body></html>`;
    expect(all(html)).toBe('# A title\n\nOne bold word & another.\nNext line.\n\n- first\n- second\n\na | b\nc | d\n');
  });

  it('keeps code with its line breaks', () => {
    expect(all('<p>Run:</p><pre><code>for x in y:\n    print(x &lt; 3)\n</code></pre>')).toBe(
      'Run:\n\n```\nfor x in y:\n    print(x < 3)\n```\n',
    );
  });

  it('keeps maths as TeX: MathML annotations, MathJax scripts, KaTeX, Wikipedia', () => {
    const mathml =
      '<math><semantics><mrow><mi>x</mi></mrow><annotation encoding="application/x-tex">x^2</annotation></semantics></math>';
    expect(all(`<p>Let ${mathml} be given.</p>`)).toBe('Let $x^2$ be given.\n');
    expect(all('<p>Then <script type="math/tex">a_1</script> holds.</p>')).toBe('Then $a_1$ holds.\n');
    expect(all('<p>So:</p><script type="math/tex; mode=display">\\sum_i i</script><p>Done.</p>')).toBe(
      'So:\n\n$$\\sum_i i$$\n\nDone.\n',
    );
    const katex = `<span class="katex"><span class="katex-mathml">${mathml}</span><span class="katex-html" aria-hidden="true">x2</span></span>`;
    expect(all(`<p>With ${katex} too.</p>`)).toBe('With $x^2$ too.\n');
    const wikipedia = `<span class="mwe-math-element"><span class="mwe-math-mathml-inline mwe-math-mathml-a11y" style="display: none;"><math alttext="y"><semantics><mi>y</mi>
      <annotation encoding="application/x-tex">{\\displaystyle y}</annotation></semantics></math></span><img alt="y"></span>`;
    expect(all(`<p>Put ${wikipedia} in.</p>`)).toBe('Put $y$ in.\n');
  });

  it('finds the article between menus and footers', () => {
    const paragraph = (topic: string) =>
      `<p>The ${topic} is one of those things that people have been writing about for a long time, and it would be hard to say when it all began or
        who was the first to see that there is more to it than meets the eye, because most of what we have was written later by others.</p>`;
    const html = `<body><nav><a href="/">Home</a></nav><div class="menu"><ul><li><a href="a">Products</a></li><li><a href="b">Prices</a></li></ul></div>
      <h1>The lighthouse</h1>${paragraph('lighthouse')}<h2>History</h2>${paragraph('history of towers')}
      <p>It was built in 1821.</p>${paragraph('keeper')}
      <div><a href="x">Read more about our cookies and how we use them on all of our pages every day of the year</a></div>
      <p>Follow us</p><p>© 2020 Lighthouse Press. All rights reserved.</p></body>`;
    const text = main(html);
    expect(text).toMatch(/^# The lighthouse\n\nThe lighthouse is one/);
    expect(text).toContain('# History');
    expect(text).toContain('It was built in 1821.');
    for (const boilerplate of ['Home', 'Products', 'cookies', 'Follow us', 'All rights reserved']) {
      expect(text).not.toContain(boilerplate);
    }
  });

  it('takes the part that the page marks as its content, short paragraphs and all, without blocks of links', () => {
    const html = `<div>Menu that is no navigation element</div><main><h1>fn parse</h1><p>Parses a number.</p><pre>parse("5")</pre>
      <p>${'Returns an error for an empty string. '.repeat(6)}</p><p><a href="a">Next</a> <a href="b">Previous</a></p></main><p>Outside</p>`;
    const text = main(html);
    expect(text).toMatch(/^# fn parse\n\nParses a number\.\n\n```\nparse\("5"\)\n```\n\nReturns an error/);
    expect(text).not.toMatch(/Menu|Next|Outside/);
  });

  it('refuses a bomb of nested elements quickly, and survives broken markup', () => {
    expect(() => all('<div>'.repeat(100_000))).toThrow(HtmlTooComplex);
    expect(all('<p>One<p>Two</b></i></div><div>Three <a href=x>four')).toBe('One\n\nTwo\n\nThree four\n');
    expect(all('</p>'.repeat(50_000) + 'text')).toBe('text\n');
    expect(all('')).toBe('');
  });

  const repeated = (piece: string) => (size: number) => piece.repeat(size / piece.length);
  const bombs: Record<string, (size: number) => string> = {
    entities: repeated('&lt;'),
    'inline elements': repeated('<b>a</b>'),
    cells: repeated('<td>a'),
    'line breaks': repeated('a<br>'),
    'undecided blocks': (size) => '<p>ab</p>'.repeat(size / 30),
    'numeric entities out of range': repeated('&#x110000;'),
    'angle brackets': repeated('<'),
    'closing tags': repeated('</p>'),
    'unclosed comment': (size) => `<!--${'-'.repeat(size)}`,
    'unclosed script': (size) => `<script>${'</scrip'.repeat(size / 7)}`,
    'one attribute': (size) => `<p class="${'display '.repeat(size / 8)}" style="${'display '.repeat(size / 8)}">`,
    attributes: (size) => `<p${Array.from({ length: size / 8 }, (_, index) => ` a${index}`).join('')}>`,
    'blanks in TeX': (size) =>
      `<annotation encoding="application/x-tex">{\\displaystyle${' '.repeat(size)}x</annotation>`,
    'blanks before text in preformatted text': (size) => `<pre><p>${' '.repeat(size)}x`,
    formulas: repeated('<annotation encoding="application/x-tex">a</annotation>'),
  };
  it.each(Object.entries(bombs))('takes time in proportion to the size of a bomb: %s', async (_, bomb) => {
    const growth = await growthOf((size) => main(bomb(size)), 60_000);
    expect(growth).toBeLessThan(linear);
  });
});
