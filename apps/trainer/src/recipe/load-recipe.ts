/**
 * Finds a recipe: a built-in name (`quickstart`) or a file. TypeScript files are run through jiti, JavaScript ones by
 * Node, `.json` is read as it is. Paths in a recipe's curation plan are relative to the recipe's file; those of built-in
 * recipes to the workspace.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, extname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createJiti } from 'jiti';
import { TrainerError } from '../errors.js';
import { builtInRecipes } from '../recipes/index.js';
import { parseRecipe, type Recipe } from './recipe-schema.js';

export interface LoadedRecipe {
  recipe: Recipe;
  /** What relative paths of the curation plan are relative to. */
  baseFolder: string;
}

/** The workspace that this trainer is part of: the nearest folder above with a pnpm-workspace.yaml. */
export function workspaceFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'pnpm-workspace.yaml'))) {
    const parent = dirname(folder);
    if (parent === folder) return process.cwd();
    folder = parent;
  }
  return folder;
}

/** `backend`, where given, takes the place of the recipe's `compute.backend`, in what `recipe.json` records too. */
export async function loadRecipe(
  nameOrFile: string,
  { backend }: { backend?: Recipe['compute']['backend'] } = {},
): Promise<LoadedRecipe> {
  const { recipe, baseFolder } = await findRecipe(nameOrFile);
  if (backend === undefined) return { recipe, baseFolder };
  return { recipe: { ...recipe, compute: { ...recipe.compute, backend } }, baseFolder };
}

async function findRecipe(nameOrFile: string): Promise<LoadedRecipe> {
  if (nameOrFile in builtInRecipes) {
    return { recipe: parseRecipe(builtInRecipes[nameOrFile], nameOrFile), baseFolder: workspaceFolder() };
  }
  const file = resolve(nameOrFile);
  if (!existsSync(file)) {
    throw new TrainerError(
      'RECIPE_NOT_FOUND',
      `There is no recipe ${JSON.stringify(nameOrFile)}: neither a built-in one nor a file.`,
      {
        value: nameOrFile,
        remedy: `Give a file (.ts, .js, .mjs or .json) or one of: ${Object.keys(builtInRecipes).join(', ')}.`,
      },
    );
  }
  let input: unknown;
  try {
    input = await readModule(file);
  } catch (error) {
    throw new TrainerError('INVALID_RECIPE', `The recipe ${file} cannot be read: ${(error as Error).message}`, {
      value: file,
      remedy: 'Correct the file; nothing was started.',
      cause: error,
    });
  }
  if (input === undefined) {
    throw new TrainerError('INVALID_RECIPE', `The recipe ${file} has no default export.`, {
      value: file,
      remedy: 'Write `export default defineRecipe({ … })`.',
    });
  }
  return { recipe: parseRecipe(input, file), baseFolder: dirname(file) };
}

async function readModule(file: string): Promise<unknown> {
  switch (extname(file)) {
    case '.json':
      return JSON.parse(await readFile(file, 'utf8')) as unknown;
    case '.ts':
    case '.mts':
      return createJiti(import.meta.url, { alias: { '@xgen-small/trainer': ownEntry() } }).import(file, {
        default: true,
      });
    default:
      return ((await import(pathToFileURL(file).href)) as { default?: unknown }).default;
  }
}

/** This package's built entry, so that a recipe outside the workspace still finds `defineRecipe`. */
function ownEntry(): string {
  const beside = fileURLToPath(new URL('./index.js', import.meta.url));
  return existsSync(beside) ? beside : fileURLToPath(new URL('../../dist/index.js', import.meta.url));
}

/** The curation plan with the paths of its sources, classifiers and evaluation sets made absolute. */
export function resolvePlanPaths(recipe: Recipe, baseFolder: string): Recipe['curation'] {
  const absolute = (path: string): string => (isAbsolute(path) ? path : join(baseFolder, path));
  const { sources, domains, quality, decontamination, ...rest } = recipe.curation;
  return {
    ...rest,
    sources: sources.map((source) =>
      'path' in source && source.path !== undefined ? { ...source, path: absolute(source.path) } : source,
    ),
    ...(domains && {
      domains: domains.method === 'classifier' ? { ...domains, model: absolute(domains.model) } : domains,
    }),
    ...(quality && {
      quality: quality.map((entry) =>
        entry.method === 'classifier' ? { ...entry, model: absolute(entry.model) } : entry,
      ),
    }),
    ...(decontamination && {
      decontamination: {
        ...decontamination,
        sets: decontamination.sets.map((set) => ({ ...set, path: absolute(set.path) })),
      },
    }),
  };
}
