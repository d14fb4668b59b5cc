/** Conversations, prompts and problems made from the seeded generator of word problems; the split keeps evaluation apart. */
import { generateMathProblems, type MathProblem } from '@xgen-small/data-curation';
import type { Conversation, Prompt } from '@xgen-small/posttrain';
import type { Recipe } from '../recipe/recipe-schema.js';

// Each use draws its own problems: the seeds differ, the split is by problem.
const seedOffsets = { sft: 11, sftHeldOut: 12, dpo: 13, ppo: 14, evaluation: 15 } as const;

export function mathsProblems(recipe: Recipe, use: keyof typeof seedOffsets, count: number): MathProblem[] {
  return [
    ...generateMathProblems({
      seed: recipe.seed * 100 + seedOffsets[use],
      count,
      difficulty: recipe.maths.difficulty,
      split: use === 'evaluation' || use === 'sftHeldOut' ? 'heldout' : 'train',
      heldoutFraction: recipe.maths.heldoutFraction,
    }),
  ];
}

export function mathsConversation(problem: MathProblem): Conversation {
  return {
    messages: [
      { role: 'user', content: problem.question },
      { role: 'assistant', content: problem.reasoning },
    ],
  };
}

export function mathsPrompt(problem: MathProblem): Prompt {
  return {
    prompt: [{ role: 'user', content: problem.question }],
    answer: problem.answer,
    solution: problem.reasoning,
  };
}
