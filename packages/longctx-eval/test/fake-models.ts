/** Models without weights: one that reads its prompt as a clever person would, one that answers the same to everything. */

import type { Completion, GenerateOptions, LanguageModelUnderTest, Prompt } from '../src/index.js';

/** Words and single marks, the way a coarse tokenizer counts. */
export const countWords = (prompt: Prompt): number => {
  const text = typeof prompt === 'string' ? prompt : prompt.map(({ content }) => content).join('\n');
  return text.match(/\w+|[^\w\s]/g)?.length ?? 0;
};

export function fakeModel(
  answer: (prompt: string) => string,
  name = 'fake',
): LanguageModelUnderTest & { prompts: string[] } {
  const prompts: string[] = [];
  return {
    name,
    prompts,
    countTokens: countWords,
    async generate(batch: readonly Prompt[], options: GenerateOptions): Promise<Completion[]> {
      return batch.map((prompt, index) => {
        const text = typeof prompt === 'string' ? prompt : prompt.map(({ content }) => content).join('\n');
        prompts.push(text);
        const completion: Completion = { text: answer(text), finishReason: 'stop' };
        options.onCompletion?.(index, completion);
        return completion;
      });
    },
  };
}

/** A few thousand words of prose, made up. */
export const prose: string[] = Array.from({ length: 12 }, (_, d) =>
  Array.from({ length: 60 }, (_, s) => {
    const subjects = ['The harbour', 'A quiet street', 'Her brother', 'The old clock', 'Nobody', 'Our neighbour'];
    const verbs = ['remembers', 'forgets', 'admires', 'describes', 'crosses', 'repairs'];
    const objects = [
      'the morning market',
      'a letter from the north',
      'what was said',
      'the narrow bridge',
      'an empty boat',
    ];
    return `${subjects[(s * 7 + d) % 6]} ${verbs[(s * 5 + d * 3) % 6]} ${objects[(s * 3 + d) % 5]}${s % 9 === 8 ? '!' : '.'}`;
  }).join(' '),
);
