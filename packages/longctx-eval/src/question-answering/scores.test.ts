import { describe, expect, it } from 'vitest';
import { parsePythonLiteral } from './python-literal.js';
import { exactMatch, rougeL, tokenF1 } from './scores.js';

describe('exactMatch', () => {
  it('sets case, punctuation, articles and spaces aside', () => {
    expect(exactMatch('  The  Eiffel Tower!', ['eiffel tower'])).toBe(1);
    expect(exactMatch('Eiffel', ['eiffel tower'])).toBe(0);
    expect(exactMatch('b', ['a c', 'B.'])).toBe(1);
    expect(exactMatch('anthem', ['them'])).toBe(0);
  });
});

describe('tokenF1', () => {
  it('agrees with values worked by hand', () => {
    // common {cat, sat}: precision 2/2, recall 2/4
    expect(tokenF1('the cat sat', ['A cat sat on mat'])).toBeCloseTo((2 * 1 * 0.5) / 1.5, 12);
    // repeated words count as often as both have them: common 1, precision 1/3, recall 1/1
    expect(tokenF1('no no no', ['no'])).toBeCloseTo(0.5, 12);
    expect(tokenF1('x', ['y', 'x z'])).toBeCloseTo(2 / 3, 12);
    expect(tokenF1('', ['the'])).toBe(1);
    expect(tokenF1('word', [''])).toBe(0);
  });
});

describe('rougeL', () => {
  it("agrees with Lin's example (2004, section 3.1)", () => {
    const reference = ['police killed the gunman'];
    expect(rougeL('police kill the gunman', reference)).toBeCloseTo(0.75, 12);
    expect(rougeL('the gunman kill police', reference)).toBeCloseTo(0.5, 12);
  });

  it('agrees with values worked by hand', () => {
    // longest common subsequence "the quick fox": 3 of 4 and 3 of 6
    expect(rougeL('the quick red fox', ['the very quick brown small fox'])).toBeCloseTo(0.6, 12);
    expect(rougeL('Größe!', ['größe'])).toBe(1);
    expect(rougeL('', ['x'])).toBe(0);
    expect(rougeL('x', ['y'])).toBe(0);
  });
});

describe('parsePythonLiteral', () => {
  it('reads what Python writes', () => {
    expect(
      parsePythonLiteral(
        String.raw`[{'Q': "it's", 'A': 'a "b"\n\x41\u00e9\U0001F642', 'n': (1, -2.5e3, None), 'ok': True,}]`,
      ),
    ).toEqual([{ Q: "it's", A: 'a "b"\nAé🙂', n: [1, -2500, null], ok: true }]);
    expect(parsePythonLiteral("'a' 'b'\n\"c\"")).toBe('abc');
    expect(parsePythonLiteral('[]')).toEqual([]);
    expect(parsePythonLiteral(String.raw`'\d\''`)).toBe("\\d'");
  });

  it.each(["['a'", "{'a' 'b'}", "__import__('os')", "'a", '[1] 2', String.raw`'\x4'`])('refuses %s', (text) => {
    expect(() => parsePythonLiteral(text)).toThrow('Python literal');
  });
});
