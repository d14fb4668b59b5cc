import type { NgramBaselinesOptions, NgramBaselinesResult } from './baselines/types.js';
import type {
  CodeProblem,
  HumanEvalOptions,
  HumanEvalResult,
  PythonSandbox,
  SandboxOptions,
  SandboxReport,
} from './code/types.js';
import type { MathAccuracyOptions, MathAccuracyResult, MathProblem } from './math/types.js';
import type { LocalModelOptions, OpenAiEndpointOptions } from './model/options.js';
import type { LanguageModelUnderTest, Prompt } from './model/types.js';
import type {
  NeedleContextOptions,
  NeedleGridOptions,
  NeedleGridResult,
  NeedleSample,
  NeedleTemplate,
} from './needle/types.js';
import type {
  DocumentQuestion,
  QuestionAnsweringOptions,
  QuestionAnsweringResult,
} from './question-answering/types.js';
import type {
  RulerOptions,
  RulerQuestion,
  RulerResult,
  RulerSample,
  RulerSampleOptions,
  RulerTaskName,
} from './ruler/types.js';
import type { Estimate } from './runs/types.js';
import type { CausalLanguageModel } from '@xgen-small/model-core';

export type {
  NgramBaseline,
  NgramBaselinesOptions,
  NgramBaselinesResult,
  NgramCrossEntropies,
  TokenArray,
  TokenStream,
} from './baselines/types.js';
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
export type { MathAccuracyOptions, MathAccuracyResult, MathProblem } from './math/types.js';
export type { ChatRenderer, LocalModelOptions, OpenAiEndpointOptions } from './model/options.js';
export type {
  ChatMessage,
  Completion,
  ContinuationScore,
  GenerateOptions,
  LanguageModelUnderTest,
  Prompt,
} from './model/types.js';
export type {
  NeedleContextOptions,
  NeedleGridOptions,
  NeedleGridResult,
  NeedleSample,
  NeedleTemplate,
} from './needle/types.js';
export type {
  DocumentQuestion,
  QuestionAnsweringOptions,
  QuestionAnsweringResult,
  QuestionAnsweringScores,
} from './question-answering/types.js';
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

/** The part of @xgen-small/tokenizer's `Tokenizer` that is used. */
export interface TextTokenizer {
  encode(text: string): ArrayLike<number>;
  decode(tokens: ArrayLike<number>): string;
}

// Signatures; the definitions follow in this package's next commits.
export declare function localModel(
  model: CausalLanguageModel,
  tokenizer: TextTokenizer,
  options?: LocalModelOptions,
): LanguageModelUnderTest & { countTokens(prompt: Prompt): number };
export declare function openAiEndpoint(options: OpenAiEndpointOptions): LanguageModelUnderTest;
export declare function needleRetrievalGrid(options: NeedleGridOptions): Promise<NeedleGridResult>;
/** One sample, also for making training text with the evaluation's own template. */
export declare function needleSample(
  options: NeedleContextOptions & { length: number; depth: number; seed: number },
): NeedleSample;
export declare const defaultNeedleTemplate: NeedleTemplate;
export declare function generateRulerSamples(options: RulerSampleOptions): Promise<RulerSample[]>;
export declare function ruler(options: RulerOptions): Promise<RulerResult>;
export declare function scoreRuler(task: RulerTaskName, completion: string, references: readonly string[]): number;
export declare function loadSquad(file: string): Promise<RulerQuestion[]>;
export declare function loadHotpot(file: string): Promise<RulerQuestion[]>;
export declare function mathAccuracy(options: MathAccuracyOptions): Promise<MathAccuracyResult>;
export declare function loadGsm8k(file: string): Promise<MathProblem[]>;
export declare function fewShotMathPrompt(examples: readonly MathProblem[]): (problem: MathProblem) => string;
/** The number a completion ends up with, without thousands separators; undefined where there is none. */
export declare function extractNumericAnswer(text: string, extraction?: 'marked' | 'any'): string | undefined;
export declare function humanEval(options: HumanEvalOptions): Promise<HumanEvalResult>;
export declare function loadHumanEval(file: string): Promise<CodeProblem[]>;
export declare function inspectSandbox(options?: SandboxOptions): Promise<SandboxReport>;
export declare function createPythonSandbox(options?: SandboxOptions): Promise<PythonSandbox>;
export declare function questionAnswering(options: QuestionAnsweringOptions): Promise<QuestionAnsweringResult>;
export declare function loadLoogle(file: string): Promise<DocumentQuestion[]>;
export declare function exactMatch(prediction: string, references: readonly string[]): number;
export declare function tokenF1(prediction: string, references: readonly string[]): number;
export declare function rougeL(prediction: string, references: readonly string[]): number;
export declare function ngramBaselines(options: NgramBaselinesOptions): NgramBaselinesResult;
export declare function wilsonEstimate(successes: number, count: number): Estimate;
export declare function bootstrapEstimate(
  values: readonly number[],
  options?: { seed?: number; resamples?: number },
): Estimate;
/** Unbiased estimate of "at least one of k is right" from n samples of which `right` are (arXiv 2107.03374, eq. 1). */
export declare function passAtK(samples: number, right: number, k: number): number;
