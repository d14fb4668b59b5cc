/**
 * The one interface through which everything here is evaluated. An adapter turns it into a model in this process
 * (`localModel`) or an HTTP endpoint (`openAiEndpoint`); a test writes its own in ten lines.
 */

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** Plain text is continued as it stands; messages go through the model's chat template. */
export type Prompt = string | readonly ChatMessage[];

export interface GenerateOptions {
  maximumNewTokens: number;
  /** 0 (the default) is greedy. */
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  /** Generation ends before the first of these; they are not part of the text. */
  stop?: readonly string[];
  /** One a prompt, so that results do not depend on how prompts are batched. */
  seeds?: readonly number[];
  signal?: AbortSignal;
  /** Called as each prompt's completion is done, in any order: what has been reported can be logged at once. */
  onCompletion?: (index: number, completion: Completion) => void;
}

export interface Completion {
  text: string;
  /** 'error' completions are never returned: a prompt that cannot be completed makes `generate` throw. */
  finishReason: 'stop' | 'length' | 'other';
  promptTokens?: number;
  completionTokens?: number;
}

export interface ContinuationScore {
  /** Sum over the continuation's tokens of log p(token | all before it), in nats. */
  logProbability: number;
  tokens: number;
}

/** What tells two models of the same name apart, so that one never continues the other's log. */
export interface ModelIdentity {
  /** Compared as they are. */
  settings: Record<string, unknown>;
  /** What the model says of a fixed text, say: compared within 0.1 %, since other hardware rounds otherwise. */
  probe: number[];
}

export interface LanguageModelUnderTest {
  /** Goes into logs and results; a rerun under another name does not continue this one's log. */
  readonly name: string;
  /** Kept in the log's header; absent where a model has nothing to go by but its name. */
  identity?(): Promise<ModelIdentity>;
  /** One completion a prompt, in the prompts' order. */
  generate(prompts: readonly Prompt[], options: GenerateOptions): Promise<Completion[]>;
  /** How likely each continuation is after its prompt; absent where the model cannot tell. */
  logProbabilities?(
    pairs: readonly { prompt: string; continuation: string }[],
    options?: { signal?: AbortSignal },
  ): Promise<ContinuationScore[]>;
  /** Tokens that this prompt takes in the model's context, template included; absent where unknown. */
  countTokens?(prompt: Prompt): number;
}
