/** The chat page: one HTML file beside the built module. */

import { readFileSync } from 'node:fs';
import { ServeError } from '../errors.js';

/** Beside the bundle; when this runs from source, in the package's `dist`. */
const places = ['./chat-page.html', '../../dist/chat-page.html'];

export function readChatPage(modelName: string): string {
  for (const place of places) {
    try {
      const page = readFileSync(new URL(place, import.meta.url), 'utf8');
      // The page asks for its model at /v1/models; the title is all it has to know before.
      return page.replace('<title>Chat</title>', `<title>${escapeHtml(modelName)}</title>`);
    } catch {
      continue;
    }
  }
  throw new ServeError('CHAT_PAGE_MISSING', 'chat-page.html does not lie beside the built module.', {
    remedy: 'Build the package, or pass chatPage: false.',
  });
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
