export {
  ChatTemplate,
  type ChatTemplateOptions,
  type EncodedConversation,
  type RenderOptions,
} from './chat/chat-template.js';
export { chatMlTemplate, llama3SpecialTokens, llama3Template } from './chat/templates.js';
export { TokenizerError, type TokenizerErrorCode } from './errors.js';
export { preTokenizerPresets } from './pre-tokenizer.js';
export type { CorpusRow } from './shards/corpus-batch.js';
export type { ShardDescription, ShardManifest } from './shards/manifest.js';
export type { CorpusColumns } from './shards/parquet-source.js';
export {
  TokenShardReader,
  type ShardDocument,
  type ShardMetadata,
  type TokenShardReaderOptions,
} from './shards/token-shard-reader.js';
export { tokenizeCorpus, type TokenizeCorpusOptions } from './shards/tokenize-corpus.js';
export { verifyTokenShards } from './shards/verify-token-shards.js';
export { StreamingDecoder } from './streaming-decoder.js';
export { Tokenizer, type DecodeOptions, type EncodeBatchOptions, type EncodeOptions } from './tokenizer.js';
export { standardSpecialTokens } from './tokenizer-definition.js';
export {
  readTokenizerConfig,
  writeTokenizerFolder,
  type TokenizerConfig,
  type TokenizerFolderOptions,
} from './tokenizer-folder.js';
export { trainBytePairEncoding, type TrainOptions } from './training/train-byte-pair-encoding.js';
export type {
  AddedToken,
  ChatMessage,
  EncodedBatch,
  LongTaskOptions,
  OnProgress,
  PreTokenizerPreset,
  ProgressEvent,
  TokenizerDefinition,
} from './types.js';
