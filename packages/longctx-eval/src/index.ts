export { ngramBaselines } from './baselines/ngram-baselines.js';
export type {
  NgramBaseline,
  NgramBaselinesOptions,
  NgramBaselinesResult,
  NgramCrossEntropies,
  TokenArray,
  TokenStream,
} from './baselines/types.js';
export { humanEval, loadHumanEval } from './code/human-eval.js';
export { createPythonSandbox, inspectSandbox } from './code/sandbox.js';
export type {
  CodeProblem,
  HumanEvalOptions,
  HumanEvalResult,
  PythonSandbox,
  SandboxOptions,
  SandboxReport,
  SandboxRun,
} from './code/types.js';
export { EvaluationError, type EvaluationErrorCode, type EvaluationErrorDetails } from './errors.js';
export { fewShotMathPrompt, loadGsm8k } from './math/few-shot.js';
export { mathAccuracy } from './math/math-accuracy.js';
export { extractNumericAnswer } from './math/numeric-answer.js';
export type { MathAccuracyOptions, MathAccuracyResult, MathProblem } from './math/types.js';
export { localModel, type LocalModelUnderTest } from './model/local-model.js';
export { openAiEndpoint } from './model/openai-endpoint.js';
export type {
  ChatRenderer,
  LocalCausalModel,
  LocalModelOptions,
  OpenAiEndpointOptions,
  TextTokenizer,
} from './model/options.js';
export type {
  ChatMessage,
  Completion,
  ContinuationScore,
  GenerateOptions,
  LanguageModelUnderTest,
  ModelIdentity,
  Prompt,
} from './model/types.js';
export { needleRetrievalGrid } from './needle/needle-grid.js';
export { defaultNeedleTemplate, needleSample, type NeedleSampleOptions } from './needle/needle-sample.js';
export type {
  NeedleContextOptions,
  NeedleGridOptions,
  NeedleGridResult,
  NeedleSample,
  NeedleTemplate,
} from './needle/types.js';
export { loadLoogle } from './question-answering/load-loogle.js';
export { questionAnswering } from './question-answering/question-answering.js';
export { exactMatch, rougeL, tokenF1 } from './question-answering/scores.js';
export type {
  DocumentQuestion,
  QuestionAnsweringOptions,
  QuestionAnsweringResult,
  QuestionAnsweringScores,
} from './question-answering/types.js';
export { generateRulerSamples } from './ruler/generate-samples.js';
export { loadHotpot, loadSquad } from './ruler/load-questions.js';
export { ruler, scoreRuler } from './ruler/ruler.js';
export {
  rulerTaskNames,
  type RulerOptions,
  type RulerQuestion,
  type RulerResult,
  type RulerSample,
  type RulerSampleOptions,
  type RulerSources,
  type RulerTaskName,
} from './ruler/types.js';
export type { Estimate, ProgressEvent, RunOptions, SampleRecord } from './runs/types.js';
export { bootstrapEstimate, wilsonEstimate } from './statistics/estimate.js';
export { passAtK } from './statistics/pass-at-k.js';
