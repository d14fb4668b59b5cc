import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConversations, readPreferences, readPrompts } from './readers.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'posttrain-readers-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const good = JSON.stringify({ messages: [user('Hi'), assistant('Hello')] });

describe('readers', () => {
  it('read conversations, over CRLF, empty lines, a missing last end and lines across chunks', async () => {
    const long = { messages: [{ role: 'system', content: 'Be brief.' }, user('é'.repeat(1_500_000)), assistant('ok')] };
    const path = await file('a.jsonl', `${good}\r\n\n${JSON.stringify(long)}\n  \n${good}`);
    expect(await all(readConversations(path))).toEqual([JSON.parse(good), long, JSON.parse(good)]);
  });

  it('read preferences and prompts, strings standing for single messages', async () => {
    const pairs = await file(
      'pairs.jsonl',
      `${JSON.stringify({ prompt: 'Q', chosen: 'right', rejected: [assistant('wrong')] })}\n`,
    );
    expect(await all(readPreferences(pairs))).toEqual([
      { prompt: [user('Q')], chosen: [assistant('right')], rejected: [assistant('wrong')] },
    ]);
    const prompts = await file('prompts.jsonl', `${JSON.stringify({ prompt: 'Q', answer: 12, difficulty: 'low' })}\n`);
    expect(await all(readPrompts(prompts))).toEqual([{ prompt: [user('Q')], answer: 12, difficulty: 'low' }]);
  });

  it.each([
    ['not JSON', '{"messages": ', /not JSON/],
    ['a wrong role', JSON.stringify({ messages: [{ role: 'bot', content: 'x' }] }), /messages\.0\.role/],
    ['an unknown key', JSON.stringify({ messages: [user('a'), assistant('b')], mood: 1 }), /mood/],
    ['no assistant', JSON.stringify({ messages: [user('a')] }), /no assistant message/],
    [
      'a late system message',
      JSON.stringify({ messages: [user('a'), { role: 'system', content: 's' }] }),
      /only come first/,
    ],
    ['two users in a row', JSON.stringify({ messages: [user('a'), user('b'), assistant('c')] }), /two user messages/],
    ['an empty answer', JSON.stringify({ messages: [user('a'), assistant('')] }), /messages\.1\.content: is empty/],
    ['a number', '3', /expected object/],
  ])('name file, line, reason and remedy of %s', async (name, line, reason) => {
    const path = await file(`${name}.jsonl`, `${good}\n\n${line}\n`);
    const failure = all(readConversations(path));
    await expect(failure).rejects.toMatchObject({ code: 'INVALID_LINE' });
    await expect(failure).rejects.toThrowError(reason);
    await expect(failure).rejects.toThrowError(`${path}:3: `);
    await expect(failure).rejects.toThrowError(/Correct or remove the line; expected \{"messages"/);
  });

  it('refuse pairs without a difference and prompts that end in an answer', async () => {
    const same = await file('same.jsonl', JSON.stringify({ prompt: 'Q', chosen: 'x', rejected: 'x' }));
    await expect(all(readPreferences(same))).rejects.toThrowError(/same\.jsonl:1: rejected: equals chosen/);
    const answered = await file('answered.jsonl', JSON.stringify({ prompt: [user('Q'), assistant('A')] }));
    await expect(all(readPrompts(answered))).rejects.toThrowError(/must end with a user message/);
    const bare = await file('bare.jsonl', JSON.stringify({ answer: 3 }));
    await expect(all(readPrompts(bare))).rejects.toThrowError(
      /bare\.jsonl:1: prompt: expected a non-empty string or a list/,
    );
  });

  it('refuse invalid UTF-8 and missing files', async () => {
    const path = await file(
      'bytes.jsonl',
      Buffer.concat([Buffer.from(`${good}\n"`), Buffer.from([0xff, 0xfe]), Buffer.from('"')]),
    );
    await expect(all(readConversations(path))).rejects.toThrowError(/bytes\.jsonl:2: the line is not valid UTF-8/);
    await expect(all(readConversations(join(folder, 'none.jsonl')))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await expect(all(readConversations(folder))).rejects.toMatchObject({ code: 'READ_FAILED' });
  });
});
