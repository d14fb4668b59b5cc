/** Log-probabilities in the two shapes that OpenAI's endpoints give them. */

import type { TokenDetail } from '../generation/choice.js';
import type { ServeTokenizer } from '../types.js';

interface ChatTokenLogprob {
  token: string;
  logprob: number;
  bytes: number[];
}

export interface ChatLogprobs {
  content: (ChatTokenLogprob & { top_logprobs: ChatTokenLogprob[] })[];
  refusal: null;
}

export interface CompletionLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

const utf8 = new TextDecoder();

const tokenText = (tokenizer: ServeTokenizer, token: number): string => utf8.decode(tokenizer.tokenBytes(token));

/** JSON has no infinities; OpenAI writes -9999 for "next to impossible". */
const finite = (logProbability: number): number => Math.max(logProbability, -9999);

export function chatLogprobs(tokenizer: ServeTokenizer, details: readonly TokenDetail[], top: number): ChatLogprobs {
  const entry = ({ token, logProbability }: { token: number; logProbability: number }): ChatTokenLogprob => ({
    token: tokenText(tokenizer, token),
    logprob: finite(logProbability),
    bytes: Array.from(tokenizer.tokenBytes(token)),
  });
  return {
    content: details.map((detail) => ({ ...entry(detail), top_logprobs: detail.top.slice(0, top).map(entry) })),
    refusal: null,
  };
}

export function completionLogprobs(
  tokenizer: ServeTokenizer,
  details: readonly TokenDetail[],
  top: number,
  offset: number,
): CompletionLogprobs {
  return {
    tokens: details.map(({ token }) => tokenText(tokenizer, token)),
    token_logprobs: details.map(({ logProbability }) => finite(logProbability)),
    top_logprobs: details.map((detail) =>
      Object.fromEntries(
        detail.top
          .slice(0, top)
          .map(({ token, logProbability }) => [tokenText(tokenizer, token), finite(logProbability)]),
      ),
    ),
    text_offset: details.map(({ textOffset }) => offset + textOffset),
  };
}
