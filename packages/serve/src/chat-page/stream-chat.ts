/** One chat completion as a stream of text, over fetch; errors come out as sentences for the reader. */

export interface ChatSettings {
  temperature: number;
  topP: number;
  maximumTokens?: number;
  apiKey: string;
}

export interface ChatDelta {
  text: string;
  /** With the last one: tokens generated, as the server counted them. */
  completionTokens?: number;
  finishReason?: string;
}

export class ChatError extends Error {
  constructor(
    message: string,
    readonly status?: number,
  ) {
    super(message);
  }
}

interface Chunk {
  error?: { message?: string };
  choices?: { delta?: { content?: string }; finish_reason?: string | null }[];
  usage?: { completion_tokens?: number } | null;
}

export async function* streamChat(
  model: string,
  messages: readonly { role: string; content: string }[],
  settings: ChatSettings,
  signal: AbortSignal,
): AsyncGenerator<ChatDelta> {
  let response: Response;
  try {
    response = await fetch('/v1/chat/completions', {
      method: 'POST',
      signal,
      headers: {
        'content-type': 'application/json',
        ...(settings.apiKey === '' ? {} : { authorization: `Bearer ${settings.apiKey}` }),
      },
      body: JSON.stringify({
        model,
        messages,
        temperature: settings.temperature,
        top_p: settings.topP,
        ...(settings.maximumTokens === undefined ? {} : { max_tokens: settings.maximumTokens }),
        stream: true,
        stream_options: { include_usage: true },
      }),
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ChatError('The server cannot be reached. Is it still running?');
  }
  if (!response.ok || !response.body) throw new ChatError(await errorMessage(response), response.status);
  for await (const data of events(response.body)) {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error) throw new ChatError(chunk.error.message ?? 'The server failed.');
    const [choice] = chunk.choices ?? [];
    yield {
      text: choice?.delta?.content ?? '',
      completionTokens: chunk.usage?.completion_tokens,
      finishReason: choice?.finish_reason ?? undefined,
    };
  }
  throw new ChatError('The connection ended before the answer did.');
}

async function errorMessage(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { error?: { message?: string } };
    if (body.error?.message !== undefined) return body.error.message;
  } catch {
    // Not ours: the status says what there is to say.
  }
  return `The server answered ${response.status}.`;
}

/** The data of server-sent events; comments and other fields are skipped. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let buffer = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += decoder.decode(value, { stream: true });
      const lines = buffer.split('\n');
      buffer = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('data: ')) yield line.slice(6).trim();
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
