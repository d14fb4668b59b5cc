/** For recipe files: `import { defineRecipe } from '@xgen-small/trainer'`. */
export { defineRecipe } from './recipe/define-recipe.js';
export { parseRecipe, type Recipe, type RecipeInput } from './recipe/recipe-schema.js';
export { TrainerError, type TrainerErrorCode } from './errors.js';
