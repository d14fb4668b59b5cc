/** One message of the conversation on the page. Text becomes nodes, never HTML. */

import { parseMarkdown, type MarkdownNode } from './markdown.js';

const icons = {
  copy: 'M9 9h10v11H9zM5 15V4h10',
  retry: 'M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5',
};

export class MessageView {
  readonly item = document.createElement('li');
  private readonly body = document.createElement('div');
  private readonly meta = document.createElement('div');
  private frame = 0;

  constructor(
    role: 'user' | 'assistant',
    private text: string,
  ) {
    this.item.className = role;
    this.body.className = 'body';
    const speaker = document.createElement('span');
    speaker.className = 'hidden';
    speaker.textContent = role === 'user' ? 'You:' : 'Model:';
    this.item.append(speaker, this.body);
    if (role === 'user') this.body.textContent = text;
    else {
      this.meta.className = 'meta';
      this.item.append(this.meta);
      this.paint();
    }
  }

  set busy(busy: boolean) {
    this.item.classList.toggle('busy', busy);
    this.item.setAttribute('aria-busy', String(busy));
  }

  /** Shows new text with the next frame, however many pieces arrive before it. */
  update(text: string, painted: () => void): void {
    this.text = text;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
      painted();
    });
  }

  showMeta(text: string, retry?: () => void): void {
    this.meta.replaceChildren();
    if (retry) {
      const copy = button('Copy', icons.copy, () => {
        void navigator.clipboard.writeText(this.text).then(() => {
          copy.lastChild?.replaceWith('Copied');
          setTimeout(() => copy.lastChild?.replaceWith('Copy'), 1500);
        });
      });
      this.meta.append(copy, button('Try again', icons.retry, retry));
    }
    this.meta.append(text);
  }

  private paint(): void {
    this.body.replaceChildren(...parseMarkdown(this.text).map(toElement));
  }
}

function toElement({ tag, children }: MarkdownNode): HTMLElement {
  const node = document.createElement(tag);
  node.append(...children.map((child) => (typeof child === 'string' ? child : toElement(child))));
  return node;
}

function button(label: string, icon: string, onClick: () => void): HTMLButtonElement {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = 'quiet';
  const namespace = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(namespace, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(namespace, 'path');
  path.setAttribute('d', icon);
  svg.append(path);
  node.append(svg, label);
  node.addEventListener('click', onClick);
  return node;
}
