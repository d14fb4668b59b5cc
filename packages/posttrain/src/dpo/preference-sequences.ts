/**
 * Preference pairs as token sequences: prompt and answer, targets on the answer alone. Held in memory (5 bytes a token), with
 * a hash that identifies the data.
 */
import { createHash } from 'node:crypto';
import type { ChatTokenizer } from '../data/chat-tokenizer.js';
import { checkedRecords, preferenceSchema, type ChatMessage, type Preference } from '../data/records.js';
import { PosttrainError } from '../errors.js';
import type { TargetSequence } from '../model/packed-sequences.js';
import { throwIfAborted } from '../run/abort.js';

export interface PreferencePair {
  chosen: TargetSequence;
  rejected: TargetSequence;
}

export interface PreferenceSequences {
  pairs: PreferencePair[];
  /** Pairs left out because one side is longer than the context. */
  dropped: number;
  sha256: string;
}

export const pairTokens = ({ chosen, rejected }: PreferencePair): number =>
  chosen.tokens.length + rejected.tokens.length;

/** Throws PosttrainError CONVERSATION_TOO_LONG, EMPTY_DATA, INVALID_ARGUMENT. */
export async function tokenizePreferences(
  preferences: Iterable<Preference> | AsyncIterable<Preference>,
  tokenizer: ChatTokenizer,
  { contextLength, overlong, signal }: { contextLength: number; overlong: 'refuse' | 'drop'; signal?: AbortSignal },
): Promise<PreferenceSequences> {
  const pairs: PreferencePair[] = [];
  const hash = createHash('sha256');
  let dropped = 0;
  let index = -1;
  for await (const { prompt, chosen, rejected } of checkedRecords(preferences, preferenceSchema, 'preferences')) {
    throwIfAborted(signal, 'Tokenising preferences');
    index++;
    const pair = {
      chosen: answerSequence(tokenizer, prompt, chosen),
      rejected: answerSequence(tokenizer, prompt, rejected),
    };
    const longest = Math.max(pair.chosen.tokens.length, pair.rejected.tokens.length);
    if (longest > contextLength) {
      if (overlong === 'refuse') {
        throw new PosttrainError(
          'CONVERSATION_TOO_LONG',
          `Pair ${index} has a side of ${longest} tokens, the context ${contextLength}.`,
          { value: longest, remedy: "Raise contextLength, or set overlongPairs to 'drop'." },
        );
      }
      dropped++;
      continue;
    }
    pairs.push(pair);
    for (const { tokens, targetMask } of [pair.chosen, pair.rejected]) {
      hash.update(`${tokens.length};`).update(tokens).update(targetMask);
    }
  }
  if (pairs.length === 0) {
    throw new PosttrainError('EMPTY_DATA', `There are no preference pairs to use (${dropped} were too long).`, {
      value: dropped,
      remedy: 'Pass at least one that fits the context.',
    });
  }
  return { pairs, dropped, sha256: hash.digest('hex') };
}

/** Prompt and answer in tokens; the targets are the assistant's tokens after the prompt. */
export function answerSequence(
  tokenizer: ChatTokenizer,
  prompt: readonly ChatMessage[],
  answer: readonly ChatMessage[],
): TargetSequence {
  const promptTokens = tokenizer.encodePrompt(prompt);
  const { tokens, assistantMask } = tokenizer.encodeConversation([...prompt, ...answer]);
  let common = 0;
  while (common < promptTokens.length && promptTokens[common] === tokens[common]) common++;
  const targetMask = Uint8Array.from(assistantMask);
  targetMask.fill(0, 0, promptTokens.length);
  if (common === promptTokens.length && targetMask.includes(1)) return { tokens: Int32Array.from(tokens), targetMask };
  throw new PosttrainError(
    'INVALID_ARGUMENT',
    `The chat template renders the prompt ${JSON.stringify(prompt).slice(0, 200)} differently before its answer.`,
    { value: prompt, remedy: 'Use a chat template under which a prompt’s tokens begin the conversation’s tokens.' },
  );
}
