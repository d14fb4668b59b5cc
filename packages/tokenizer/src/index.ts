export { TokenizerError, type TokenizerErrorCode } from './errors.js';
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
