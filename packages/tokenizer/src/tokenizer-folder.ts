/** The two files of a tokenizer folder as `transformers` and vLLM read it: tokenizer.json and tokenizer_config.json. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from './atomic-file.js';
import { chatMlTemplate } from './chat/templates.js';
import { TokenizerError } from './errors.js';
import { checkTokenizerDefinition, serializeTokenizerDefinition } from './tokenizer-definition.js';
import type { TokenizerDefinition } from './types.js';

export interface TokenizerFolderOptions {
  /** Jinja source; default `chatMlTemplate`. */
  chatTemplate?: string;
  /** Default: the first of the standard names that is a special token (`<|endoftext|>`, `<|begin_of_text|>`). */
  bosToken?: string;
  /** What ends a document; default `<|endoftext|>` or `<|end_of_text|>`. */
  eosToken?: string;
  /** Default `<|pad|>` when it is a special token. */
  padToken?: string;
  /** Longest text in tokens; left out by default. */
  modelMaximumLength?: number;
}

/** What this package reads from a tokenizer_config.json. */
export interface TokenizerConfig {
  bosToken?: string;
  eosToken?: string;
  padToken?: string;
  chatTemplate?: string;
}

/**
 * Writes tokenizer.json and tokenizer_config.json, each atomically.
 * @throws TokenizerError `INVALID_OPTIONS` when a named token is not a special token of the definition; `FILE_WRITE_FAILED`
 */
export async function writeTokenizerFolder(
  folder: string,
  definition: TokenizerDefinition,
  options: TokenizerFolderOptions = {},
): Promise<void> {
  checkTokenizerDefinition(definition);
  const special = definition.added_tokens.filter((token) => token.special);
  const named = (token: string | undefined, standard: readonly string[], option: string): string | undefined => {
    if (token === undefined) return standard.find((content) => special.some((entry) => entry.content === content));
    if (special.some((entry) => entry.content === token)) return token;
    throw new TokenizerError('INVALID_OPTIONS', `${option} is ${JSON.stringify(token)}, which is no special token.`, {
      value: token,
      remedy: `Use one of ${special.map((entry) => entry.content).join(' ')}.`,
    });
  };
  const config = {
    added_tokens_decoder: Object.fromEntries(definition.added_tokens.map(({ id, ...token }) => [String(id), token])),
    bos_token: named(options.bosToken, ['<|begin_of_text|>', '<|endoftext|>'], 'bosToken') ?? null,
    chat_template: options.chatTemplate ?? chatMlTemplate,
    clean_up_tokenization_spaces: false,
    eos_token: named(options.eosToken, ['<|end_of_text|>', '<|endoftext|>'], 'eosToken') ?? null,
    ...(options.modelMaximumLength === undefined ? {} : { model_max_length: options.modelMaximumLength }),
    pad_token: named(options.padToken, ['<|pad|>'], 'padToken') ?? null,
    tokenizer_class: 'PreTrainedTokenizerFast',
    unk_token: null,
  };
  await writeFileAtomic(join(folder, 'tokenizer.json'), serializeTokenizerDefinition(definition));
  await writeFileAtomic(join(folder, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`);
}

const tokenSchema = z
  .union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)])
  .nullish()
  .transform((token) => token ?? undefined);
const configSchema = z.object({
  bos_token: tokenSchema,
  eos_token: tokenSchema,
  pad_token: tokenSchema,
  chat_template: z
    .union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))])
    .nullish()
    .transform((template) =>
      typeof template === 'object' ? template?.find(({ name }) => name === 'default')?.template : template,
    ),
});

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new TokenizerError('FILE_READ_FAILED', `Could not read ${path}: ${(error as Error).message}.`, {
      value: path,
      cause: error,
    });
  }
}

/** Reads tokenizer_config.json and, where there is one, chat_template.jinja (which then counts). Missing files: `{}`. */
export async function readTokenizerConfig(folder: string): Promise<TokenizerConfig> {
  const path = join(folder, 'tokenizer_config.json');
  const text = await readOptional(path);
  const template = await readOptional(join(folder, 'chat_template.jinja'));
  let json: unknown;
  try {
    json = JSON.parse(text ?? '{}');
  } catch (error) {
    throw new TokenizerError('CORRUPT_TOKENIZER_FILE', `${path} is not JSON: ${(error as Error).message}.`, {
      value: path,
      cause: error,
      remedy: 'Copy or write it again.',
    });
  }
  const parsed = configSchema.safeParse(json);
  if (!parsed.success) {
    throw new TokenizerError('CORRUPT_TOKENIZER_FILE', `${path} is not sound: ${z.prettifyError(parsed.error)}.`, {
      value: path,
      remedy: 'Copy or write it again.',
    });
  }
  const { bos_token, eos_token, pad_token, chat_template } = parsed.data;
  return {
    bosToken: bos_token,
    eosToken: eos_token,
    padToken: pad_token,
    chatTemplate: template ?? chat_template ?? undefined,
  };
}
