import { describe, expect, it } from 'vitest';
import { StopMatcher } from './stop-matcher.js';

/** What a reader sees, when the pieces arrive one by one. */
function shown(
  pieces: readonly string[],
  stops: readonly string[],
): { text: string; stopped: boolean; parts: string[] } {
  const matcher = new StopMatcher(stops);
  const parts: string[] = [];
  for (const piece of pieces) {
    const match = matcher.push(piece);
    parts.push(match.text);
    if (match.stopped) return { text: parts.join(''), stopped: true, parts };
  }
  parts.push(matcher.finish());
  return { text: parts.join(''), stopped: false, parts };
}

describe('StopMatcher', () => {
  it('ends before the stop string however the text is cut', () => {
    const text = 'aab🙂aabab, END of it';
    const units = Array.from(text);
    for (const stop of ['aabab', 'END', 'b🙂a', '🙂', 'it', ', ']) {
      const expected = text.slice(0, text.indexOf(stop));
      for (let size = 1; size <= units.length; size++) {
        const pieces: string[] = [];
        for (let i = 0; i < units.length; i += size) pieces.push(units.slice(i, i + size).join(''));
        expect(shown(pieces, [stop])).toMatchObject({ text: expected, stopped: true });
      }
    }
  });

  it('takes the earliest of several, and shows all when none comes', () => {
    expect(shown(['one two', ' three'], ['three', 'two'])).toMatchObject({ text: 'one ', stopped: true });
    expect(shown(['EN', 'E', 'N'], ['END'])).toMatchObject({ text: 'ENEN', stopped: false });
  });

  it('holds back only what may still become a stop string', () => {
    expect(shown(['a</', 'b', '</s'], ['</s>']).parts).toEqual(['a', '</b', '', '</s']);
  });
});
