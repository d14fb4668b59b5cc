/** The chat page: a conversation with the model behind this page's own server. */

import { MessageView } from './message-view.js';
import { Settings } from './settings.js';
import { ChatError, streamChat } from './stream-chat.js';

const suggestions = [
  'Tom has 14 apples and buys 9 more. How many apples does he have now?',
  'What does the function Array.prototype.map do?',
  'Write a short note on how to install a package.',
];

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const scroller = element('scroll');
const list = element('messages');
const empty = element('empty');
const input = element<HTMLTextAreaElement>('input');
const send = element<HTMLButtonElement>('send');
const stop = element<HTMLButtonElement>('stop');
const alertBox = element('alert');
const status = element('status');
const settings = new Settings();

const conversation: { role: 'user' | 'assistant'; content: string }[] = [];
let model = '';
let running: AbortController | undefined;

/** True while the reader is at the end; scrolling up stops the page from following the answer. */
let following = true;
scroller.addEventListener('scroll', () => {
  following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
});
const follow = (): void => {
  if (following) scroller.scrollTop = scroller.scrollHeight;
};

async function loadModel(): Promise<void> {
  const { apiKey } = settings.values;
  try {
    const response = await fetch('/v1/models', { headers: apiKey === '' ? {} : { authorization: `Bearer ${apiKey}` } });
    if (response.status === 401) {
      showError(new ChatError('This server asks for an API key.', 401));
      return;
    }
    const { data } = (await response.json()) as { data: { id: string }[] };
    model = data[0].id;
    element('model').textContent = model;
    document.title = model;
  } catch {
    showError(new ChatError('The server cannot be reached. Is it still running?'));
  }
}

function showError(error: ChatError | undefined): void {
  alertBox.hidden = error === undefined;
  alertBox.replaceChildren();
  if (!error) return;
  const text = document.createElement('span');
  text.textContent = error.message;
  alertBox.append(text);
  const action = document.createElement('button');
  action.type = 'button';
  const needsKey = error.status === 401;
  action.textContent = needsKey ? 'Enter key' : 'Try again';
  action.addEventListener('click', () => {
    showError(undefined);
    if (needsKey) settings.open('api-key');
    else if (conversation.at(-1)?.role === 'user') void answer();
    else void loadModel();
  });
  alertBox.append(action);
}

function refresh(): void {
  empty.hidden = conversation.length > 0;
  send.hidden = running !== undefined;
  stop.hidden = running === undefined;
  send.disabled = input.value.trim() === '';
  input.style.height = 'auto';
  input.style.height = `${input.scrollHeight}px`;
}

async function answer(): Promise<void> {
  if (running) return;
  if (model === '') await loadModel();
  if (model === '') return;
  showError(undefined);
  const controller = new AbortController();
  running = controller;
  const view = new MessageView('assistant', '');
  view.busy = true;
  list.append(view.item);
  following = true;
  refresh();
  follow();
  status.textContent = 'The model is answering.';
  const { system } = settings.values;
  const messages = [...(system === '' ? [] : [{ role: 'system', content: system }]), ...conversation];
  let text = '';
  let pieces = 0;
  let tokens: number | undefined;
  let reason: string | undefined;
  let firstAt = 0;
  let failure: ChatError | undefined;
  // The rate needs a stretch of time to be one: an answer within 50 ms shows its length alone.
  const meter = (): string => {
    if (firstAt === 0) return '';
    const seconds = (performance.now() - firstAt) / 1000;
    const count = tokens ?? pieces;
    const length = `${count} ${count === 1 ? 'token' : 'tokens'}`;
    return seconds < 0.05 || count < 2 ? length : `${length} · ${((count - 1) / seconds).toFixed(1)} tokens/s`;
  };
  try {
    for await (const delta of streamChat(model, messages, settings.values, controller.signal)) {
      tokens = delta.completionTokens ?? tokens;
      reason = delta.finishReason ?? reason;
      if (delta.text === '') continue;
      if (firstAt === 0) firstAt = performance.now();
      pieces++;
      text += delta.text;
      view.update(text, () => {
        if (running === controller) view.showMeta(meter());
        follow();
      });
    }
  } catch (error) {
    if (!controller.signal.aborted) failure = error instanceof ChatError ? error : new ChatError(String(error));
  }
  const stopped = controller.signal.aborted;
  const summary = [meter(), stopped ? 'stopped' : reason === 'length' ? 'cut at the token limit' : ''];
  running = undefined;
  view.busy = false;
  // A new chat may have begun meanwhile.
  if (!view.item.isConnected) return refresh();
  if (failure && text === '') view.item.remove();
  else {
    conversation.push({ role: 'assistant', content: text });
    view.update(text, follow);
    view.showMeta(summary.filter((part) => part !== '').join(' · ') || (text === '' ? 'empty answer' : ''), () => {
      if (running) return;
      // Everything from this answer on is asked again.
      const index = [...list.children].indexOf(view.item);
      conversation.length = index;
      while (list.children.length > index) list.lastElementChild?.remove();
      void answer();
    });
  }
  status.textContent = failure ? '' : stopped ? 'Stopped.' : 'The answer is complete.';
  if (failure) showError(failure);
  refresh();
  follow();
  if (matchMedia('(pointer: fine)').matches) input.focus();
}

function submit(text: string): void {
  const content = text.trim();
  if (content === '' || running) return;
  // A question that failed is replaced, not asked twice.
  if (conversation.at(-1)?.role === 'user') {
    conversation.pop();
    list.lastElementChild?.remove();
  }
  conversation.push({ role: 'user', content });
  list.append(new MessageView('user', content).item);
  input.value = '';
  void answer();
}

element('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  submit(input.value);
});
input.addEventListener('input', refresh);
input.addEventListener('keydown', (event) => {
  // While an input method composes a character, Enter belongs to it.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit(input.value);
});
stop.addEventListener('click', () => running?.abort());
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !element<HTMLDialogElement>('settings').open) running?.abort();
});
element('open-settings').addEventListener('click', () => settings.open());
element('settings').addEventListener('close', () => {
  if (model === '') void loadModel();
});
element('new').addEventListener('click', () => {
  running?.abort();
  conversation.length = 0;
  list.replaceChildren();
  showError(undefined);
  refresh();
  input.focus();
});
element('theme').addEventListener('click', () => {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const current = document.documentElement.dataset.theme ?? (dark ? 'dark' : 'light');
  document.documentElement.dataset.theme = current === 'dark' ? 'light' : 'dark';
});
for (const suggestion of suggestions) {
  const item = document.createElement('li');
  const choose = document.createElement('button');
  choose.type = 'button';
  choose.textContent = suggestion;
  choose.addEventListener('click', () => submit(suggestion));
  item.append(choose);
  element('suggestions').append(item);
}
refresh();
void loadModel();
