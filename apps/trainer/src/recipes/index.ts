import type { RecipeInput } from '../recipe/recipe-schema.js';
import { quickstart } from './quickstart.js';
import { smoke } from './smoke.js';

/** Recipes that `xgen run <name>` knows. */
export const builtInRecipes: Record<string, RecipeInput> = { quickstart, smoke };
