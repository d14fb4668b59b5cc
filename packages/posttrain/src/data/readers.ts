/** The three kinds of JSONL file that post-training reads, each streamed and strictly checked. */
import {
  conversationSchema,
  preferenceSchema,
  promptSchema,
  type Conversation,
  type Preference,
  type Prompt,
} from './records.js';
import { readJsonLines } from './read-json-lines.js';

/** `{"messages": [{"role", "content"}, …]}` a line. Unknown keys are refused. */
export function readConversations(file: string): AsyncGenerator<Conversation> {
  return readJsonLines(
    file,
    conversationSchema,
    '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
  );
}

/** `{"prompt", "chosen", "rejected"}` a line, each a list of messages or a string. Unknown keys are refused. */
export function readPreferences(file: string): AsyncGenerator<Preference> {
  return readJsonLines(file, preferenceSchema, '{"prompt": "…", "chosen": "…", "rejected": "…"}');
}

/** `{"prompt", …}` a line; all other keys are kept for verifiers and reward functions. */
export function readPrompts(file: string): AsyncGenerator<Prompt> {
  return readJsonLines(file, promptSchema, '{"prompt": "…", "answer": "…"}');
}
