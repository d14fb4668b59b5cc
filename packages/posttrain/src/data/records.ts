/**
 * The records of post-training and their schemas, in the shapes that Hugging Face's TRL made conventional:
 * `{messages}`, `{prompt, chosen, rejected}` and `{prompt, …verifier fields}`. Plain strings are accepted for prompts
 * (one user message) and answers (one assistant message).
 */
import { z } from 'zod';
import { PosttrainError } from '../errors.js';

const chatMessageSchema = z.strictObject({
  role: z.enum(['system', 'user', 'assistant']),
  content: z.string(),
});

/** One turn. */
export type ChatMessage = {
  role: 'system' | 'user' | 'assistant';
  content: string;
};

/** A conversation to imitate: the loss is on every assistant turn. */
export interface Conversation {
  messages: ChatMessage[];
}

/** Two answers to one prompt, the better one first. */
export interface Preference {
  prompt: ChatMessage[];
  chosen: ChatMessage[];
  rejected: ChatMessage[];
}

/** A prompt with whatever a verifier or a reward function needs to judge answers to it (`answer`, `reference` …). */
export interface Prompt {
  prompt: ChatMessage[];
  [field: string]: unknown;
}

const order = (messages: readonly ChatMessage[], context: z.RefinementCtx): void => {
  messages.forEach((message, index) => {
    if (message.role === 'system' && index > 0) {
      context.addIssue({ code: 'custom', path: [index, 'role'], message: 'a system message may only come first' });
    }
    if (message.role !== 'system' && message.role === messages[index - 1]?.role) {
      context.addIssue({ code: 'custom', path: [index, 'role'], message: `two ${message.role} messages in a row` });
    }
    if (message.content === '' && message.role !== 'system') {
      context.addIssue({ code: 'custom', path: [index, 'content'], message: 'is empty' });
    }
  });
};

const messagesSchema = z.array(chatMessageSchema).min(1).superRefine(order);

const promptMessagesSchema = z
  .union([z.string().min(1), messagesSchema], { error: 'expected a non-empty string or a list of messages' })
  .transform((prompt): ChatMessage[] => (typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt))
  .refine((messages) => messages[messages.length - 1]?.role === 'user', { message: 'must end with a user message' });

const answerMessagesSchema = z
  .union([z.string().min(1), messagesSchema], { error: 'expected a non-empty string or a list of messages' })
  .transform((answer): ChatMessage[] =>
    typeof answer === 'string' ? [{ role: 'assistant', content: answer }] : answer,
  )
  .refine((messages) => messages[0]?.role === 'assistant' && messages[messages.length - 1]?.role === 'assistant', {
    message: 'must begin and end with an assistant message',
  });

export const conversationSchema: z.ZodType<Conversation> = z.strictObject({
  messages: messagesSchema.refine((messages) => messages.some(({ role }) => role === 'assistant'), {
    message: 'has no assistant message, so there is nothing to learn from it',
  }),
});

export const preferenceSchema: z.ZodType<Preference> = z
  .strictObject({ prompt: promptMessagesSchema, chosen: answerMessagesSchema, rejected: answerMessagesSchema })
  .refine(({ chosen, rejected }) => JSON.stringify(chosen) !== JSON.stringify(rejected), {
    path: ['rejected'],
    message: 'equals chosen, so there is nothing to prefer',
  });

export const promptSchema: z.ZodType<Prompt> = z.looseObject({ prompt: promptMessagesSchema });

/** The first issues in words: `messages.0.role: Invalid option …`. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => {
      const path = issue.path.map(String).join('.');
      return path === '' ? issue.message : `${path}: ${issue.message}`;
    })
    .join('; ');
}

/** Records that a caller made are checked like those from files. Throws PosttrainError INVALID_RECORD that names it. */
export async function* checkedRecords<T>(
  records: Iterable<T> | AsyncIterable<T>,
  schema: z.ZodType<T>,
  label: string,
): AsyncGenerator<T> {
  let index = 0;
  for await (const record of records) {
    const parsed = schema.safeParse(record);
    if (!parsed.success) {
      throw new PosttrainError('INVALID_RECORD', `${label}[${index}]: ${describeIssues(parsed.error)}.`, {
        value: record,
        remedy: 'Correct it or leave it out.',
        cause: parsed.error,
      });
    }
    index++;
    yield parsed.data;
  }
}
