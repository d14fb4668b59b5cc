import {
  ChatTemplate,
  Tokenizer,
  llama3SpecialTokens,
  llama3Template,
  trainBytePairEncoding,
} from '@xgen-small/tokenizer';
import { expect, it } from 'vitest';
import { answerSequence } from '../dpo/preference-sequences.js';
import { createChatTokenizer } from './chat-tokenizer.js';
import type { ChatMessage } from './records.js';

const conversation: ChatMessage[] = [
  { role: 'system', content: 'be exact' },
  { role: 'user', content: 'how much is 2 + 2?' },
  { role: 'assistant', content: '2 + 2 is 4\n#### 4' },
  { role: 'user', content: 'and <|im_end|> 3?' },
  { role: 'assistant', content: '#### 7' },
];

it.each([
  ['ChatML', undefined, undefined, '<|im_end|>'],
  ['Llama 3', llama3SpecialTokens, llama3Template, '<|eot_id|>'],
])('marks what the assistant says and its ends of turn, under %s', async (_, specialTokens, template, end) => {
  const definition = await trainBytePairEncoding(['2 + 2 is 4 how much is'], {
    vocabularySize: 280,
    specialTokens,
    workers: 0,
  });
  const tokenizer = Tokenizer.fromDefinition(definition);
  const chat = createChatTokenizer({ tokenizer, chatTemplate: new ChatTemplate(tokenizer, template) });
  const { tokens, assistantMask } = chat.encodeConversation(conversation);
  const marked = Array.from(tokens).filter((_token, i) => assistantMask[i] === 1);
  expect(tokenizer.decode(marked)).toBe(`2 + 2 is 4\n#### 4${end}#### 7${end}`);
  expect(chat.decode(marked)).toBe('2 + 2 is 4\n#### 4#### 7');
  expect(chat.decode([...marked, 5000])).toBe(chat.decode(marked));
  expect(chat.endOfTurnTokens).toContain(tokenizer.tokenId(end));

  // As an answer to a prompt with an earlier answer in it, only the last one is a target.
  const answer = answerSequence(chat, conversation.slice(0, 4), conversation.slice(4));
  const targets = answer.tokens.filter((_token, i) => answer.targetMask[i] === 1);
  expect(tokenizer.decode(targets)).toBe(`#### 7${end}`);
  expect(Array.from(answer.tokens.slice(0, answer.targetMask.indexOf(1)))).toEqual([
    ...Array.from(chat.encodePrompt(conversation.slice(0, 4))),
  ]);
});
