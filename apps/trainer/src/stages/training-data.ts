/** Opens the token shards of a run for training and evaluation. */
import { combineDocumentSources, type TokenDocumentSource } from '@xgen-small/pretrain';
import { TokenShardReader } from '@xgen-small/tokenizer';
import type { StageContext } from '../run/stage-context.js';

/** Training documents: the curated ones and, where the recipe has any, the generated ones. */
export async function openTrainingData(
  context: StageContext,
): Promise<{ data: TokenDocumentSource; close: () => Promise<void> }> {
  const { trainShards, generatedShards } = context.finished('tokenize').summary as {
    trainShards: string;
    generatedShards?: string;
  };
  const readers: TokenShardReader[] = [];
  for (const folder of [trainShards, generatedShards]) {
    if (folder !== undefined) readers.push(await TokenShardReader.open(context.run.folder(folder)));
  }
  return {
    data: combineDocumentSources(readers),
    close: async () => {
      for (const reader of readers) reader.close();
    },
  };
}
