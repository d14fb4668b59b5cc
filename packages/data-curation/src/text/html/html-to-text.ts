/** HTML → plain text: blocks separated by blank lines, headings, list items, code and maths in Markdown's notation. */

import { contentBlocks } from './boilerplate.js';
import type { HtmlBlock } from './html-blocks.js';
import { htmlBlocks } from './html-blocks.js';

/** @throws HtmlTooComplex for a page beyond the limits. */
export function htmlToText(html: string, { removeBoilerplate }: { removeBoilerplate: boolean }): string {
  const blocks = htmlBlocks(html);
  const chosen = removeBoilerplate ? contentBlocks(blocks) : blocks;
  let text = '';
  let previous: HtmlBlock | undefined;
  for (const block of chosen) {
    const together = previous?.kind === block.kind && (block.kind === 'item' || block.kind === 'row');
    text += previous === undefined ? '' : together ? '\n' : '\n\n';
    text += format(block);
    previous = block;
  }
  return text === '' ? '' : `${text}\n`;
}

function format({ kind, text }: HtmlBlock): string {
  if (kind === 'item') return `- ${text}`;
  if (kind === 'heading') return `# ${text}`;
  return kind === 'code' ? `\`\`\`\n${text}\n\`\`\`` : text;
}
