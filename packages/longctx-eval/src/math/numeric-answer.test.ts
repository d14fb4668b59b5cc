import { describe, expect, it } from 'vitest';
import { extractNumericAnswer, sameNumber } from './numeric-answer.js';

describe('extractNumericAnswer', () => {
  it.each([
    ['16 - 3 = 13\n#### 13', '13'],
    ['#### 1,234,567', '1234567'],
    ['#### $18.50', '18.5'],
    ['####-7', '-7'],
    ['#### −7', '-7'],
    ['#### 12\n\nQuestion: another?\nAnswer: #### 99', '12'],
    ['#### 12 apples and 3 pears', '12'],
    ['so \\boxed{42} it is', '42'],
    ['first \\boxed{1}, then \\boxed{2/3}', '2/3'],
    ['The answer is 5. No: the answer is 6.', '6'],
    ['Answer: $1,000', '1000'],
    ['He has 3 apples and buys 4, so 7.', '7'],
    ['It rises by 0.50', '0.5'],
    ['about .75 of it', '0.75'],
    ['5-3 is 2', '2'],
    ['x = 5-3', '3'],
    ['x = -3', '-3'],
    ['(4) -3', '3'],
    ['007', '7'],
    ['1,2,3', '3'],
    ['3/4', '3/4'],
    ['2 + 2 = 4.', '4'],
    ['100%', '100'],
    ['€ 12', '12'],
    ['room 12b and item A7', undefined],
    ['none at all', undefined],
    ['', undefined],
    ['#### none', undefined],
  ])('%j gives %j', (text, expected) => {
    expect(extractNumericAnswer(text)).toBe(expected);
  });

  it('takes marked answers only, where asked to', () => {
    expect(extractNumericAnswer('3 and 4 are 7', 'marked')).toBeUndefined();
    expect(extractNumericAnswer('the answer is 7', 'marked')).toBe('7');
  });
});

describe('sameNumber', () => {
  it('compares numbers, not their spelling', () => {
    expect(sameNumber('3/4', '0.75')).toBe(true);
    expect(sameNumber('0.3333333333333', '1/3')).toBe(true);
    expect(sameNumber('12', '12.0001')).toBe(false);
    expect(sameNumber('9007199254740993', '9007199254740992')).toBe(false);
    expect(sameNumber('0', '0')).toBe(true);
    expect(sameNumber('-1', '1')).toBe(false);
  });
});
