export { CurationError } from './errors.js';
export type { CurationErrorCode, CurationErrorDetails } from './errors.js';
export type { CurateOptions, CurateResult, DocumentRow, OutputShard, ProgressEvent } from './engine/types.js';
export type {
  BadInput,
  CountedBytes,
  CurationReport,
  DomainShare,
  DropReason,
  DroppedExample,
  DuplicateBucket,
  FunnelStep,
  Histogram,
  SampledDocument,
} from './report/types.js';
export type {
  MathDifficulty,
  MathDocument,
  MathDocumentOptions,
  MathOperation,
  MathProblem,
  MathProblemOptions,
} from './generators/math-types.js';
export type {
  RetrievalDocument,
  RetrievalDocumentOptions,
  RetrievalFact,
  RetrievalTemplates,
} from './generators/retrieval-types.js';
