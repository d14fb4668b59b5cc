export { CurationError } from './errors.js';
export type { CurationErrorCode, CurationErrorDetails } from './errors.js';
export { curationFormatVersion, hashPlan, parseCurationPlan } from './plan/schema.js';
export type { CurationPlan, CurationPlanInput } from './plan/schema.js';
export { defaultFilters } from './filters/registry.js';
export type { FilterPlan, FilterPlanInput } from './filters/registry.js';
export { weightCurvePresets, weightForCount } from './mixture/weight-curves.js';
export { fitWeightCurve } from './mixture/fit-weight-curve.js';
export type { ClusterSizeCount, FitOptions, FittedBucket, FittedCurve } from './mixture/fit-weight-curve.js';
export { solveMixture } from './mixture/solver.js';
export type { MixtureGroup, MixturePlan, MixtureSolution } from './mixture/solver.js';
export type { KnownWeightCurve, WeightCurve, WeightStep } from './mixture/weight-curves.js';
export { curate } from './engine/curate.js';
export { verifyCuration } from './engine/verify.js';
export { submitCuration } from './cluster/submit.js';
export type { CurationSubmission, SubmitCurationOptions, SubmittedJob } from './cluster/submit.js';
export { runCurationTask } from './cluster/task.js';
export type { CurationTaskOptions } from './cluster/task.js';
export { curationStatus } from './cluster/status.js';
export type { CurationStageStatus, CurationStatus, CurationTaskState, FailedCurationTask } from './cluster/status.js';
export type { CurationManifest, ManifestShard, MixtureFile } from './engine/manifest.js';
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
  StageReport,
} from './report/types.js';
export { TextClassifier } from './classifier/text-classifier.js';
export type { Prediction } from './classifier/text-classifier.js';
export { trainTextClassifier } from './classifier/train.js';
export type { ClassifierReport, LabelledText, TrainClassifierOptions } from './classifier/train.js';
export { readLabelledFiles } from './classifier/labelled-files.js';
export type { LabelledFilesOptions, LabelledPath } from './classifier/labelled-files.js';
export { classifyFiles } from './classifier/classify-files.js';
export type { ClassifyFilesOptions, ClassifyFilesSummary } from './classifier/classify-files.js';
export { ClassifierEnsemble } from './classifier/ensemble.js';
export type { CalibrationMeasures, ReliabilityBin } from './classifier/calibration.js';
export type { FeatureView } from './classifier/features.js';
export { huggingFaceParquetUrls } from './sources/hugging-face.js';
export type { HuggingFaceOptions } from './sources/hugging-face.js';
export { extractFinalAnswer } from './generators/final-answer.js';
export { generateMathDocuments } from './generators/math-documents.js';
export { generateMathProblems } from './generators/math-problems.js';
export {
  defaultRetrievalTemplates,
  generateRetrievalDocuments,
  retrievalDocuments,
  retrievalNames,
  retrievalWords,
} from './generators/retrieval-documents.js';
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
export { repetitionDocuments } from './generators/repetition-documents.js';
export type { RepetitionDocument, RepetitionDocumentOptions } from './generators/repetition-documents.js';
