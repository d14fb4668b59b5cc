/**
 * One choice of a response: tokens in, text and log-probabilities out. Characters come out whole, stop strings never, and a
 * token's log-probability together with the last character of its text.
 */

import { StopMatcher } from './stop-matcher.js';
import type { ServeTokenizer } from '../types.js';
import type { GenerationEvent } from '@xgen-small/model-core';

export interface TokenDetail {
  token: number;
  logProbability: number;
  top: { token: number; logProbability: number }[];
  /** Where the token's text begins in the choice's text, in UTF-16 units. */
  textOffset: number;
}

export interface ChoiceDelta {
  text: string;
  details: TokenDetail[];
  finishReason?: 'stop' | 'length';
}

export class Choice {
  completionTokens = 0;
  private readonly decoder: ReturnType<ServeTokenizer['createDecoder']>;
  private readonly matcher: StopMatcher;
  private readonly pending: { detail: TokenDetail; end: number }[] = [];
  private decoded = 0;
  private shown = 0;

  constructor(
    readonly index: number,
    tokenizer: ServeTokenizer,
    stops: readonly string[],
    private readonly wantsDetails: boolean,
  ) {
    this.decoder = tokenizer.createDecoder({ skipSpecial: true });
    this.matcher = new StopMatcher(stops);
  }

  /** What the event adds. With a `finishReason`, nothing may follow: where the engine goes on, it has to be cancelled. */
  push(event: GenerationEvent): ChoiceDelta {
    this.completionTokens++;
    // The token that ends the turn is no text, and OpenAI reports no log-probability for it.
    if (event.finishReason === 'stop') return this.finish('stop');
    const piece = this.decoder.push(event.token);
    if (this.wantsDetails) {
      const detail: TokenDetail = {
        token: event.token,
        logProbability: event.logProbability,
        top: event.topLogProbabilities ?? [],
        textOffset: this.decoded,
      };
      this.pending.push({ detail, end: Infinity });
    }
    this.decoded += piece.length;
    if (piece !== '') this.closePending();
    const { text, stopped } = this.matcher.push(piece);
    this.shown += text.length;
    if (stopped) {
      const details = this.takeDetails(({ detail }) => detail.textOffset < this.shown);
      this.pending.length = 0;
      return { text, details, finishReason: 'stop' };
    }
    if (event.finishReason !== undefined) {
      const rest = this.finish('length');
      return { ...rest, text: text + rest.text };
    }
    return { text, details: this.takeDetails(({ end }) => end <= this.shown) };
  }

  private finish(finishReason: 'stop' | 'length'): ChoiceDelta {
    // The last bytes may complete a stop string only as U+FFFD, which none contains: no need to match again.
    const text = this.matcher.finish() + this.decoder.finish();
    this.shown += text.length;
    return { text, details: this.takeDetails(() => true), finishReason };
  }

  /** Tokens that only began a character are shown with the token that completed it. */
  private closePending(): void {
    for (let i = this.pending.length - 1; i >= 0 && this.pending[i].end === Infinity; i--)
      this.pending[i].end = this.decoded;
  }

  private takeDetails(ready: (entry: { detail: TokenDetail; end: number }) => boolean): TokenDetail[] {
    let count = 0;
    while (count < this.pending.length && ready(this.pending[count])) count++;
    return this.pending.splice(0, count).map(({ detail }) => detail);
  }
}
