import type { RecipeInput } from '../recipe/recipe-schema.js';
import { quickstart } from './quickstart.js';
import { smallGpu } from './small-gpu.js';
import { smoke } from './smoke.js';

/** Recipes that `xgen run <name>` knows. */
export const builtInRecipes: Record<string, RecipeInput> = { quickstart, smoke, 'small-gpu': smallGpu };

/** Their names for people, with what they should know before choosing. */
export const builtInRecipeNames = Object.keys(builtInRecipes).map((name) =>
  name === 'small-gpu' ? `${name} (needs a GPU)` : name,
);
