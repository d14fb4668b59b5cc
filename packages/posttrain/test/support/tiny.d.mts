import type { CausalLanguageModel, ModelConfig } from '@xgen-small/model-core';
import type { ChatTokenizer } from '../../src/data/chat-tokenizer.js';
import type { Conversation } from '../../src/data/records.js';

export const tinyTokenizer: ChatTokenizer;
export const tinyConfig: ModelConfig;
export function tinyModel(seed?: number, changes?: Partial<ModelConfig>): CausalLanguageModel;
export interface Sum {
  question: string;
  answer: number;
}
export function sums(count: number, first?: number): Sum[];
export function sumConversation(sum: Sum): Conversation;
