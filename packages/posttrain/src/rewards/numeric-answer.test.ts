import { describe, expect, it } from 'vitest';
import { extractNumericAnswer, numericAnswerVerifier } from './numeric-answer.js';
import type { Completion } from './types.js';

const said = (text: string): Completion => ({ text, tokens: 1, finishReason: 'stop' });

describe('extractNumericAnswer', () => {
  it.each([
    ['5 + 7 = 12\n#### 12', '12'],
    ['####12', '12'],
    ['#### 1,234,567', '1234567'],
    ['#### $1,250.50', '1250.5'],
    ['#### -3', '-3'],
    ['#### −3.0', '-3'],
    ['#### +8', '8'],
    ['#### -0', '0'],
    ['#### 007', '7'],
    ['#### .5', '0.5'],
    ['#### 42.', '42'],
    ['#### 42 apples', '42'],
    ['#### 5\nno, wait\n#### 6', '5'],
    ['#### 123456789012345678901234567890', '123456789012345678901234567890'],
  ])('reads %j as %s', (text, answer) => expect(extractNumericAnswer(text)).toBe(answer));

  it.each(['the answer is 12', '####', '#### twelve', '#### 1,23', '#### 12.5.7', '#### 12th', ''])(
    'finds no marked answer in %j',
    (text) => expect(extractNumericAnswer(text)).toBeUndefined(),
  );

  it.each([
    ['so 3 boxes hold 36, and 4 hold 48.', '48'],
    ['that makes $1,200 in all', '1200'],
    ['from 5 to -7', '-7'],
    ['the set 1, 2, 3', '3'],
    ['x1 and 2nd give 9 but not v3', '9'],
    ['#### none, but 4', '4'],
  ])('falls back to the last number of %j: %s', (text, answer) =>
    expect(extractNumericAnswer(text, { lastNumberFallback: true })).toBe(answer),
  );

  it('has no answer where there is no number at all', () =>
    expect(extractNumericAnswer('none', { lastNumberFallback: true })).toBeUndefined());
});

describe('numericAnswerVerifier', () => {
  const prompt = (answer: unknown) => ({ prompt: [{ role: 'user' as const, content: 'How many?' }], answer });

  it.each([
    [72, '#### 72', true],
    ['72', '#### 72.0', true],
    ['She has 48 + 24 = 72.\n#### 72', '#### 72', true],
    ['1,000', '#### 1000', true],
    [1e21, '#### 1,000,000,000,000,000,000,000', true],
    [-4, '#### 4', false],
    [72, '#### 73', false],
    [72, '72', false],
  ])('answer %j, completion %j: %s', (answer, text, right) =>
    expect(numericAnswerVerifier().verify(prompt(answer), said(text))).toBe(right),
  );

  it('takes the last number where asked to, and another field', () => {
    expect(numericAnswerVerifier({ lastNumberFallback: true }).verify(prompt(72), said('it is 72'))).toBe(true);
    const verifier = numericAnswerVerifier({ field: 'target' });
    expect(verifier.verify({ ...prompt(1), target: 9 }, said('#### 9'))).toBe(true);
  });

  it.each([undefined, 'many', null, Number.NaN, '12 or 13th #### x'])('names a prompt whose answer is %j', (answer) =>
    expect(() => numericAnswerVerifier().verify(prompt(answer), said('#### 1'))).toThrowError(
      /field "answer".*How many\?.*holds no number/,
    ),
  );
});
