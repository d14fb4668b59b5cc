import { EvaluationError } from '../errors.js';
import type { Prompt } from './types.js';

/** The caller's counter, else the model's; an error that names the remedy where there is neither. */
export function tokenCounter(
  given: ((prompt: Prompt) => number) | undefined,
  model: { name: string; countTokens?: (prompt: Prompt) => number },
  where: string,
): (prompt: Prompt) => number {
  if (given) return given;
  if (model.countTokens) return (prompt) => model.countTokens?.(prompt) ?? 0;
  throw new EvaluationError('INVALID_OPTIONS', `${where} builds prompts by tokens, and ${model.name} counts none.`, {
    remedy: "Pass countTokens with the model's own tokenizer.",
  });
}
