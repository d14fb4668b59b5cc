/** Files of model and tokenizer folders. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CausalLanguageModel } from '@xgen-small/model-core';
import { ChatTemplate, Tokenizer } from '@xgen-small/tokenizer';
import type { StageContext } from '../run/stage-context.js';

/** Absolute paths of a folder's files, sorted. */
export async function filesOfFolder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(folder, entry.name))
    .sort();
}

/** Name → contents of a tokenizer folder, to lie beside a model. */
export async function tokenizerFiles(folder: string): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (const file of await filesOfFolder(folder)) files[file.slice(folder.length + 1)] = await readFile(file);
  return files;
}

export function loadStageModel(
  context: StageContext,
  stage: 'pretrain' | 'extend' | 'sft' | 'dpo' | 'ppo',
): Promise<CausalLanguageModel> {
  const { model } = context.finished(stage).summary as { model: string };
  return CausalLanguageModel.load(context.run.folder(model), { signal: context.signal });
}

export interface TokenizerParts {
  folder: string;
  tokenizer: Tokenizer;
  chatTemplate: ChatTemplate;
}

export async function loadTokenizer(context: StageContext): Promise<TokenizerParts> {
  const { tokenizer } = context.finished('tokenize').summary as { tokenizer: string };
  return openTokenizer(context.run.folder(tokenizer));
}

export async function openTokenizer(folder: string): Promise<TokenizerParts> {
  const tokenizer = await Tokenizer.load(folder);
  return { folder, tokenizer, chatTemplate: await ChatTemplate.load(folder, tokenizer) };
}

/** The template as packages take it that know messages of a role and a text alone. */
export function plainMessages(template: ChatTemplate): {
  encodePrompt(messages: readonly { role: string; content: string }[]): ArrayLike<number>;
  readonly endOfTurnTokens: readonly number[];
} {
  return {
    encodePrompt: (messages) => template.encodePrompt(messages.map(({ role, content }) => ({ role, content }))),
    endOfTurnTokens: template.endOfTurnTokens,
  };
}

/** Records as the contents of a JSON Lines file. */
export function jsonLines(records: readonly object[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}
