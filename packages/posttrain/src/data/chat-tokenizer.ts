/**
 * All that post-training needs of a tokenizer, so that any other may stand in. `createChatTokenizer` makes one of
 * this project's Tokenizer and ChatTemplate.
 */
import type { ChatTemplate, Tokenizer } from '@xgen-small/tokenizer';
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
  /** Any of these ends an assistant's turn. */
  readonly endOfTurnTokens: readonly number[];
  readonly vocabularySize: number;
}

export interface ChatTokenizerParts {
  tokenizer: Pick<Tokenizer, 'decode' | 'vocabularySize'>;
  chatTemplate: Pick<ChatTemplate, 'encodeConversation' | 'encodePrompt' | 'endOfTurnTokens'>;
}

export function createChatTokenizer({ tokenizer, chatTemplate }: ChatTokenizerParts): ChatTokenizer {
  return {
    encodeConversation: (messages) => chatTemplate.encodeConversation(messages),
    encodePrompt: (messages) => chatTemplate.encodePrompt(messages),
    // A model may have more rows than the tokenizer has tokens, and may sample one: such a token has no text.
    decode: (tokens) =>
      tokenizer.decode(
        Array.from(tokens).filter((token) => token < tokenizer.vocabularySize),
        { skipSpecial: true },
      ),
    endOfTurnTokens: chatTemplate.endOfTurnTokens,
    vocabularySize: tokenizer.vocabularySize,
  };
}
