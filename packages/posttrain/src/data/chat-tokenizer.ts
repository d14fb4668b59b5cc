/**
 * All that post-training needs of a tokenizer, so that any other may stand in. `createChatTokenizer` makes one of
 * this project's Tokenizer and ChatTemplate.
 */
import type { ChatMessage } from './records.js';

export interface EncodedConversation {
  tokens: ArrayLike<number>;
  /** 1 on the tokens an assistant produces, its end of turn included. */
  assistantMask: ArrayLike<number>;
}

export interface ChatTokenizer {
  encodeConversation(messages: readonly ChatMessage[]): EncodedConversation;
  /** The tokens after which the assistant speaks (generation prompt included). */
  encodePrompt(messages: readonly ChatMessage[]): ArrayLike<number>;
  /** The text of completion tokens, without special tokens. */
  decode(tokens: ArrayLike<number>): string;
  /** Ends an assistant's turn. */
  readonly endOfTurnToken: number;
  readonly vocabularySize: number;
}

export function createChatTokenizer(_: unknown): ChatTokenizer {
  throw new Error('waiting');
}
