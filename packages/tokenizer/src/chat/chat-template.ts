/**
 * A Jinja chat template bound to a tokenizer: rendering, prompts, and training examples with a mask over what the
 * assistant says.
 *
 * Text is encoded in pieces cut at the beginning and end of each assistant turn, so that the tokens of a training example
 * are those that the model meets and makes when it generates. Special tokens typed inside a message stay text.
 */
import { Template } from '@huggingface/jinja';
import { z } from 'zod';
import { TokenizerError } from '../errors.js';
import { readTokenizerConfig } from '../tokenizer-folder.js';
import type { Tokenizer } from '../tokenizer.js';
import type { ChatMessage } from '../types.js';
import { findAssistantSpans, type AssistantSpan } from './assistant-spans.js';
import { findSpecialTokens, LiteralContent } from './literal-content.js';
import { chatMlTemplate } from './templates.js';

export interface ChatTemplateOptions {
  /** `bos_token` and `eos_token` of the template; by default those of the standard special tokens that exist. */
  bosToken?: string;
  eosToken?: string;
}

export interface RenderOptions {
  /** End with the beginning of an assistant turn; default false. */
  addGenerationPrompt?: boolean;
  /** More variables for the template, such as `tools`. */
  variables?: Readonly<Record<string, unknown>>;
}

export interface EncodedConversation {
  tokens: Uint32Array;
  /** 1 for each token that the assistant writes (its text and the token that ends its turn), else 0. */
  assistantMask: Uint8Array;
}

const messagesSchema = z
  .array(
    z
      .looseObject({ role: z.string().min(1), content: z.string().nullish() })
      .refine((message) => typeof message.content === 'string' || message.tool_calls !== undefined, {
        message: 'content must be a string unless there are tool_calls',
      }),
  )
  .min(1);

export class ChatTemplate {
  readonly source: string;
  private readonly tokenizer: Tokenizer;
  private readonly template: Template;
  private readonly tokens: Readonly<Record<string, string>>;
  private readonly specialTokens: readonly string[];
  private stops: readonly number[] | undefined;

  /**
   * @param source Jinja source; default ChatML
   * @throws TokenizerError `INVALID_CHAT_TEMPLATE`
   */
  constructor(tokenizer: Tokenizer, source: string = chatMlTemplate, options: ChatTemplateOptions = {}) {
    this.tokenizer = tokenizer;
    this.source = source;
    try {
      this.template = new Template(source);
    } catch (error) {
      throw new TokenizerError(
        'INVALID_CHAT_TEMPLATE',
        `The chat template does not parse: ${(error as Error).message}.`,
        {
          value: source,
          cause: error,
          remedy: 'Check its Jinja syntax.',
        },
      );
    }
    this.specialTokens = [...tokenizer.specialTokens.keys()].sort((a, b) => b.length - a.length);
    const first = (...names: string[]) => names.find((name) => tokenizer.specialTokens.has(name)) ?? '';
    this.tokens = {
      bos_token: options.bosToken ?? first('<|begin_of_text|>', '<|endoftext|>'),
      eos_token: options.eosToken ?? first('<|end_of_text|>', '<|endoftext|>'),
      pad_token: first('<|pad|>'),
    };
  }

  /** The template of a tokenizer folder: chat_template.jinja, else `chat_template` of tokenizer_config.json. */
  static async load(folder: string, tokenizer: Tokenizer): Promise<ChatTemplate> {
    const { chatTemplate, bosToken, eosToken } = await readTokenizerConfig(folder);
    if (chatTemplate === undefined) {
      throw new TokenizerError('INVALID_CHAT_TEMPLATE', `${folder} has no chat template.`, {
        value: folder,
        remedy: 'Write one with writeTokenizerFolder, or make a ChatTemplate from its source.',
      });
    }
    return new ChatTemplate(tokenizer, chatTemplate, { bosToken, eosToken });
  }

  /** Ids at which generation has to stop: what ends an assistant turn, and the eos token. */
  get endOfTurnTokens(): readonly number[] {
    this.stops ??= this.findEndOfTurnTokens();
    return this.stops;
  }

  /**
   * The conversation as text. Special tokens that a message spells out appear as they are: encode prompts with
   * `encodePrompt`, which tells them from the template's.
   * @throws TokenizerError `INVALID_MESSAGES`, `CHAT_TEMPLATE_FAILED`
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    return this.run(checkMessages(messages), options.addGenerationPrompt ?? false, options.variables);
  }

  /** Ids of the conversation with the beginning of an assistant turn, ready for generation. */
  encodePrompt(messages: readonly ChatMessage[], { variables }: Pick<RenderOptions, 'variables'> = {}): Uint32Array {
    const literal = new LiteralContent(this.specialTokens, [messages, variables]);
    const checked = literal.protect(checkMessages(messages));
    const render = (part: readonly ChatMessage[], prompt: boolean) =>
      this.run(part, prompt, literal.protect(variables));
    const text = render(checked, true);
    let spans: AssistantSpan[] = [];
    try {
      spans = findAssistantSpans(checked, text, render, this.specialTokens);
    } catch (error) {
      // Such a template cannot be trained on, but a prompt needs no spans: it is then encoded in one piece.
      if (!TokenizerError.isInstance(error)) throw error;
    }
    return this.encodePieces(text, spans, literal).tokens;
  }

  /**
   * Ids of a whole conversation, and which of them the assistant writes.
   * @throws TokenizerError `INVALID_MESSAGES`, `CHAT_TEMPLATE_FAILED`, `CHAT_TEMPLATE_NOT_PREFIX_STABLE`,
   * `CHAT_TEMPLATE_ALTERS_CONTENT`
   */
  encodeConversation(
    messages: readonly ChatMessage[],
    { variables }: Pick<RenderOptions, 'variables'> = {},
  ): EncodedConversation {
    const literal = new LiteralContent(this.specialTokens, [messages, variables]);
    const checked = literal.protect(checkMessages(messages));
    const render = (part: readonly ChatMessage[], prompt: boolean) =>
      this.run(part, prompt, literal.protect(variables));
    const text = render(checked, false);
    return this.encodePieces(text, findAssistantSpans(checked, text, render, this.specialTokens), literal);
  }

  /**
   * Proves on sample conversations that the template can be trained on.
   * @throws TokenizerError with the reason, as `encodeConversation` does
   */
  assertTrainable(): void {
    const user = { role: 'user', content: 'Two plus two?' };
    const assistant = { role: 'assistant', content: 'It is 4.\n\nFour.' };
    this.encodeConversation([user, assistant]);
    this.encodeConversation([user, assistant, user, assistant]);
  }

  private encodePieces(text: string, spans: readonly AssistantSpan[], literal: LiteralContent): EncodedConversation {
    const pieces: Uint32Array[] = [];
    const masks: Uint8Array[] = [];
    const add = (start: number, end: number, assistant: boolean) => {
      const tokens = this.encodeRendered(text.slice(start, end), literal);
      pieces.push(tokens);
      masks.push(new Uint8Array(tokens.length).fill(assistant ? 1 : 0));
    };
    let from = 0;
    for (const { start, end } of spans) {
      add(from, start, false);
      add(start, end, true);
      from = end;
    }
    add(from, text.length, false);
    return { tokens: concatenate(pieces), assistantMask: Uint8Array.from(Buffer.concat(masks)) };
  }

  /** Encodes rendered text: the template's special tokens as such, then the users' back as text. */
  private encodeRendered(text: string, literal: LiteralContent): Uint32Array {
    const parts: Uint32Array[] = [];
    const encodeText = (start: number, end: number) => {
      if (end > start) parts.push(this.tokenizer.encode(literal.restore(text.slice(start, end))));
    };
    let from = 0;
    for (const { index, token } of findSpecialTokens(text, this.specialTokens)) {
      encodeText(from, index);
      parts.push(Uint32Array.of(this.tokenizer.specialTokens.get(token) as number));
      from = index + token.length;
    }
    encodeText(from, text.length);
    return concatenate(parts);
  }

  private run(
    messages: readonly ChatMessage[],
    addGenerationPrompt: boolean,
    variables: Readonly<Record<string, unknown>> | undefined,
  ): string {
    try {
      return this.template.render({
        ...this.tokens,
        ...variables,
        messages,
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (error) {
      throw new TokenizerError('CHAT_TEMPLATE_FAILED', `The chat template failed: ${(error as Error).message}.`, {
        value: messages,
        cause: error,
        remedy: 'Check the roles and their order, and the fields that the template asks for.',
      });
    }
  }

  private findEndOfTurnTokens(): number[] {
    const stops = new Set<number>();
    try {
      const messages = [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ];
      const render = (part: readonly ChatMessage[], prompt: boolean) => this.run(part, prompt, undefined);
      const spans = findAssistantSpans(messages, render(messages, false), render, this.specialTokens);
      for (const { endOfTurn } of spans) stops.add(this.tokenizer.specialTokens.get(endOfTurn) as number);
    } catch (error) {
      // No turn can be made out in this template; the eos token is then the only one known to end a text.
      if (!TokenizerError.isInstance(error)) throw error;
    }
    const eos = this.tokenizer.specialTokens.get(this.tokens.eos_token);
    if (eos !== undefined) stops.add(eos);
    return [...stops];
  }
}

function checkMessages(messages: readonly ChatMessage[]): ChatMessage[] {
  const parsed = messagesSchema.safeParse(messages);
  if (!parsed.success) {
    throw new TokenizerError('INVALID_MESSAGES', `These are not messages: ${z.prettifyError(parsed.error)}.`, {
      value: messages,
      remedy: 'Give an array of { role, content } with at least one entry.',
    });
  }
  return parsed.data.map((message) => ({ ...message, content: message.content ?? '' }));
}

function concatenate(parts: readonly Uint32Array[]): Uint32Array {
  const whole = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
