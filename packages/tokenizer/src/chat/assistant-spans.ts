/**
 * Finds what the assistant says inside a rendered conversation, by rendering its beginnings: the text after
 * `render(messages before it, generation prompt)` is what the model has to write, up to and with the special token that
 * ends the turn. That holds only for templates whose renderings of a conversation's beginnings are beginnings of the
 * rendered conversation (the prefix property); others are refused with the place where they break it.
 */
import { TokenizerError } from '../errors.js';
import type { ChatMessage } from '../types.js';

/** `text[start … end)`, the end-of-turn token included. */
export interface AssistantSpan {
  start: number;
  end: number;
  endOfTurn: string;
}

export type RenderMessages = (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => string;

function notPrefix(whole: string, part: string, message: number, what: string): TokenizerError {
  let same = 0;
  while (same < part.length && whole[same] === part[same]) same++;
  const expected = JSON.stringify(part.slice(same, same + 40));
  const found = JSON.stringify(whole.slice(same, same + 40));
  return new TokenizerError(
    'CHAT_TEMPLATE_NOT_PREFIX_STABLE',
    `The chat template breaks the prefix property at message ${message}: ${what} has ${expected} at character ${same}, where the whole conversation has ${found}.`,
    { value: message, remedy: 'Use a template that renders a turn the same whatever follows it.' },
  );
}

/**
 * Spans of all assistant messages in `text`, which is the rendering of `messages` (with or without generation prompt).
 * @throws TokenizerError `CHAT_TEMPLATE_NOT_PREFIX_STABLE` or `CHAT_TEMPLATE_ALTERS_CONTENT`
 */
export function findAssistantSpans(
  messages: readonly ChatMessage[],
  text: string,
  render: RenderMessages,
  specialTokens: readonly string[],
): AssistantSpan[] {
  const spans: AssistantSpan[] = [];
  for (const [i, message] of messages.entries()) {
    if (message.role !== 'assistant') continue;
    const prompt = render(messages.slice(0, i), true);
    const upToHere = render(messages.slice(0, i + 1), false);
    if (!upToHere.startsWith(prompt)) throw notPrefix(upToHere, prompt, i, 'the prompt before it');
    if (!text.startsWith(upToHere)) throw notPrefix(text, upToHere, i, 'the conversation up to it');
    const turn = upToHere.slice(prompt.length);
    const contentEnd = prompt.length + contentLength(message, turn, i, specialTokens);
    const endOfTurn = specialTokens.find((token) => upToHere.startsWith(token, contentEnd));
    if (endOfTurn === undefined) {
      throw new TokenizerError(
        'CHAT_TEMPLATE_ALTERS_CONTENT',
        `The chat template puts no special token after the assistant's text in message ${i}, but ${JSON.stringify(upToHere.slice(contentEnd, contentEnd + 40))}.`,
        { value: i, remedy: 'A turn must end with a special token, or the model never learns to stop.' },
      );
    }
    spans.push({ start: prompt.length, end: contentEnd + endOfTurn.length, endOfTurn });
  }
  return spans;
}

/** How much of `turn` is the assistant's own text. */
function contentLength(message: ChatMessage, turn: string, index: number, specialTokens: readonly string[]): number {
  if (message.tool_calls !== undefined && message.tool_calls !== null) {
    // A call's wording is the template's: the turn goes to its first special token that ends it.
    const ends = specialTokens.map((token) => turn.lastIndexOf(token)).filter((at) => at >= 0);
    if (ends.length > 0) return Math.max(...ends);
  }
  const { content } = message;
  for (const text of [content, content.trim()]) {
    if (turn.startsWith(text) && specialTokens.some((token) => turn.startsWith(token, text.length))) return text.length;
  }
  if (turn.startsWith(content)) return content.length;
  throw new TokenizerError(
    'CHAT_TEMPLATE_ALTERS_CONTENT',
    `The chat template does not give the assistant's text in message ${index} as it is: it has ${JSON.stringify(turn.slice(0, 60))} for ${JSON.stringify(content.slice(0, 60))}.`,
    { value: index, remedy: 'Only trimming white space is allowed.' },
  );
}
