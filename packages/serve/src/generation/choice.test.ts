import { describe, expect, it } from 'vitest';
import type { ServeTokenizer } from '../types.js';
import { Choice, type ChoiceDelta } from './choice.js';

/** One token a byte: every character beyond ASCII spans several. */
const byteTokenizer: ServeTokenizer = {
  encode: (text) => new TextEncoder().encode(text),
  createDecoder() {
    const decoder = new TextDecoder();
    return {
      push: (id) => decoder.decode(Uint8Array.of(id), { stream: true }),
      finish: () => decoder.decode(),
    };
  },
  tokenId: () => undefined,
  tokenBytes: (id) => Uint8Array.of(id),
};

function run(bytes: Uint8Array, stops: string[]): ChoiceDelta[] {
  const choice = new Choice(0, byteTokenizer, stops, true);
  const deltas: ChoiceDelta[] = [];
  for (let i = 0; i < bytes.length; i++) {
    const finishReason = i === bytes.length - 1 ? ('length' as const) : undefined;
    const delta = choice.push({ id: 'x', token: bytes[i], logProbability: -i, finishReason });
    deltas.push(delta);
    if (delta.finishReason !== undefined) break;
  }
  return deltas;
}

const textOf = (deltas: ChoiceDelta[]): string => deltas.map(({ text }) => text).join('');
const tokensOf = (deltas: ChoiceDelta[]): number[] =>
  deltas.flatMap(({ details }) => details.map(({ token }) => token));

describe('Choice', () => {
  const text = 'Größe 東京 🙂!';
  const bytes = new TextEncoder().encode(text);

  it('never lets half a character out', () => {
    const deltas = run(bytes, []);
    expect(textOf(deltas)).toBe(text);
    for (const delta of deltas) expect(delta.text).not.toMatch(/\uFFFD|[\ud800-\udbff]$/);
    expect(tokensOf(deltas)).toEqual(Array.from(bytes));
    expect(deltas.at(-1)?.finishReason).toBe('length');
  });

  it('stops before a stop string inside multi-byte text, with the details of what is shown', () => {
    const deltas = run(bytes, ['京 🙂']);
    expect(textOf(deltas)).toBe('Größe 東');
    expect(new TextDecoder().decode(Uint8Array.from(tokensOf(deltas)))).toBe('Größe 東');
    expect(deltas.at(-1)?.finishReason).toBe('stop');
  });

  it('gives a detail together with the end of its text, each once', () => {
    let details = 0;
    let shown = 0;
    for (const delta of run(bytes, ['never'])) {
      shown += delta.text.length;
      details += delta.details.length;
      for (const { textOffset } of delta.details) expect(textOffset).toBeLessThanOrEqual(shown);
    }
    expect(details).toBe(bytes.length);
  });

  it('shows an unfinished character as U+FFFD at the end only', () => {
    expect(textOf(run(bytes.slice(0, 3), []))).toBe('Gr\uFFFD');
  });

  it('keeps the token that ends the turn out of the text', () => {
    const choice = new Choice(0, byteTokenizer, [], true);
    choice.push({ id: 'x', token: 65, logProbability: -1 });
    expect(choice.push({ id: 'x', token: 66, logProbability: -1, finishReason: 'stop' })).toEqual({
      text: '',
      details: [],
      finishReason: 'stop',
    });
    expect(choice.completionTokens).toBe(2);
  });
});
