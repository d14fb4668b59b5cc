/**
 * Conversations as token sequences with marked targets, held in memory (5 bytes a token), with a hash that identifies
 * the data when a run is resumed.
 */
import { createHash } from 'node:crypto';
import type { ProgressEvent } from '@xgen-small/pretrain';
import { PosttrainError } from '../errors.js';
import { countTargets, type TargetSequence } from '../model/packed-sequences.js';
import { throwIfAborted } from '../run/abort.js';
import type { ChatTokenizer } from './chat-tokenizer.js';
import { checkedRecords, conversationSchema, type Conversation } from './records.js';

export interface TokenizedConversations {
  sequences: TargetSequence[];
  /** Conversations cut at the context's end, and those left out. */
  truncated: number;
  dropped: number;
  tokens: number;
  assistantTokens: number;
  /** Of all tokens and masks, hexadecimal. */
  sha256: string;
}

export interface TokenizeConversationsOptions {
  conversations: Iterable<Conversation> | AsyncIterable<Conversation>;
  tokenizer: ChatTokenizer;
  contextLength: number;
  overlong: 'refuse' | 'drop' | 'truncate';
  /** Names the data in errors and progress: "conversations", "held-out conversations". */
  label: string;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

/** Throws PosttrainError CONVERSATION_TOO_LONG, INVALID_ARGUMENT (nothing marked), EMPTY_DATA. */
export async function tokenizeConversations(options: TokenizeConversationsOptions): Promise<TokenizedConversations> {
  const { conversations, tokenizer, contextLength, overlong, label, signal, onProgress } = options;
  const result = { sequences: [] as TargetSequence[], truncated: 0, dropped: 0, tokens: 0, assistantTokens: 0 };
  const hash = createHash('sha256');
  let index = 0;
  for await (const { messages } of checkedRecords(conversations, conversationSchema, label)) {
    throwIfAborted(signal, `Tokenising ${label}`);
    let sequence = encode(tokenizer, messages, `${label}[${index}]`);
    index++;
    if (index % 1000 === 0) onProgress?.({ task: `tokenise ${label}`, completed: index, unit: 'conversations' });
    if (sequence.tokens.length > contextLength) {
      if (overlong === 'refuse') {
        throw new PosttrainError(
          'CONVERSATION_TOO_LONG',
          `${label}[${index - 1}] has ${sequence.tokens.length} tokens, the context ${contextLength}.`,
          {
            value: sequence.tokens.length,
            remedy: "Raise contextLength, or set overlongConversations to 'drop' or 'truncate'.",
          },
        );
      }
      sequence = {
        tokens: sequence.tokens.slice(0, contextLength),
        targetMask: sequence.targetMask.slice(0, contextLength),
      };
      // A conversation cut before the assistant speaks teaches nothing.
      if (overlong === 'drop' || countTargets(sequence) === 0) {
        result.dropped++;
        continue;
      }
      result.truncated++;
    }
    result.sequences.push(sequence);
    result.tokens += sequence.tokens.length;
    result.assistantTokens += countTargets(sequence);
    hash.update(`${sequence.tokens.length};`).update(sequence.tokens).update(sequence.targetMask);
  }
  if (result.sequences.length === 0) {
    throw new PosttrainError('EMPTY_DATA', `There are no ${label} to use (${result.dropped} were too long).`, {
      value: index,
      remedy: 'Pass at least one that fits the context.',
    });
  }
  return { ...result, sha256: hash.digest('hex') };
}

function encode(tokenizer: ChatTokenizer, messages: Conversation['messages'], name: string): TargetSequence {
  const { tokens, assistantMask } = tokenizer.encodeConversation(messages);
  const sequence = { tokens: Int32Array.from(tokens), targetMask: Uint8Array.from(assistantMask) };
  if (sequence.tokens.length === sequence.targetMask.length && countTargets(sequence) > 0) return sequence;
  throw new PosttrainError('INVALID_ARGUMENT', `The tokenizer marked no assistant token in ${name}.`, {
    value: messages,
    remedy: 'Give the conversation an assistant message, and use a chat template that marks them.',
  });
}
