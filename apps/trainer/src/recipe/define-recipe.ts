import type { RecipeInput } from './recipe-schema.js';

/** Types a recipe file: `export default defineRecipe({ … })`. Checked when it is run, not here. */
export function defineRecipe(recipe: RecipeInput): RecipeInput {
  return recipe;
}
