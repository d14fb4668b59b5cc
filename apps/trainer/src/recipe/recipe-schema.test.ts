import { describe, expect, it } from 'vitest';
import { TrainerError } from '../errors.js';
import { builtInRecipes } from '../recipes/index.js';
import { smoke } from '../recipes/smoke.js';
import { parseRecipe } from './recipe-schema.js';
import type { RecipeInput } from './recipe-schema.js';

/** The smoke recipe with one setting changed, by path. */
function changed(path: string, value: unknown): RecipeInput {
  const copy = structuredClone(smoke) as unknown as Record<string, unknown>;
  const keys = path.split('.');
  let at = copy;
  for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>;
  at[keys[keys.length - 1]] = value;
  return copy as unknown as RecipeInput;
}

function problemOf(input: unknown): TrainerError {
  try {
    parseRecipe(input, 'test');
  } catch (error) {
    if (TrainerError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('The recipe was accepted.');
}

describe('parseRecipe', () => {
  it.each(Object.keys(builtInRecipes))('accepts the built-in recipe %s, and its resolved form gives itself', (name) => {
    const recipe = parseRecipe(builtInRecipes[name], name);
    expect(parseRecipe(JSON.parse(JSON.stringify(recipe)), name)).toEqual(recipe);
  });

  it.each([
    ['an unknown key', 'modle', {}, /modle/],
    ['an unknown key deep inside', 'sft.stage.learningrate', 1, /learningrate/],
    ['a negative length', 'evaluation.needle.lengths', [-5], /evaluation\.needle\.lengths/],
    ['a wrong type', 'model.layers', 'two', /model\.layers/],
    ['a domain that nothing gives', 'pretrain.stages.0.mixture', { poetry: { share: 1 } }, /poetry.*nothing gives/s],
    ['a longer needle than the context', 'evaluation.needle.lengths', [256, 100_000], /100000 is longer/],
    ['heads that do not divide', 'model.keyValueHeads', 3, /model/],
    ['an extension that does not extend', 'extend.stages.0.contextLength', 256, /does not extend/],
    ['an extension without its RoPE', 'extend.stages.0.rope', undefined, /rope: missing/],
    ['held-out problems that would be trained on', 'maths.heldoutFraction', 0.2, /would be trained on/],
    ['repeated seeds', 'ppo.seeds', [1, 1], /seeds must differ/],
    ['an unknown key of a pre-training stage', 'pretrain.stages.0.lerning', 1, /lerning/],
    ['an unknown key of the curation plan', 'curation.filtres', [], /filtres/],
  ])('refuses %s and names it', (_, path, value, message) => {
    const error = problemOf(changed(path, value));
    expect(error.code).toBe('INVALID_RECIPE');
    expect(error.message).toMatch(message);
    expect(error.remedy).toBeTruthy();
  });

  it('names every wrong setting at once', () => {
    const input = changed('model.layers', 0) as unknown as { seed: number };
    input.seed = -1;
    const { message } = problemOf(input);
    expect(message).toMatch(/model\.layers/);
    expect(message).toMatch(/seed/);
  });
});
