/** Bad lines, and compressed files that are damaged. */

import { gzipSync } from 'node:zlib';
import { type BadInputCase, numbered, remove } from './bad-input-case.js';
import { damage, goodLines, jsonl, put, zstd } from './files.js';

/** One bad line between two good ones in a JSON Lines file. */
function lineCase(
  name: string,
  line: string | Uint8Array,
  reason: string | RegExp,
  options: object = {},
): BadInputCase {
  const [first, last] = goodLines(name.length, 2);
  const bytes = typeof line === 'string' ? Buffer.from(line) : line;
  return {
    name,
    source: { type: 'jsonl', ...options },
    write: (folder) =>
      put(folder, 'a.jsonl', Buffer.concat([Buffer.from(`${first}\n`), bytes, Buffer.from(`\n${last}\n`)])),
    bad: { 'a.jsonl#2': reason },
    kept: ['a.jsonl#1', 'a.jsonl#3'],
    repair: (folder) => put(folder, 'a.jsonl', jsonl([first, last])),
  };
}

export const lines: BadInputCase[] = [
  lineCase('not-json', '{"text": "cut off', 'not JSON'),
  lineCase('json-array', '["text"]', 'not a JSON object'),
  lineCase('json-string', '"text"', 'not a JSON object'),
  lineCase('json-null', 'null', 'not a JSON object'),
  lineCase('field-missing', '{"body": "text"}', 'field "text" is missing'),
  lineCase('field-inherited', '{"__proto__": {"text": "text"}}', 'field "text" is missing'),
  lineCase('field-number', '{"text": 7}', 'field "text" is not a string'),
  lineCase('field-null', '{"text": null}', 'field "text" is not a string'),
  lineCase('field-object', '{"text": {"text": "text"}}', 'field "text" is not a string'),
  lineCase('json-deep', `${'['.repeat(60_000)}`, 'not JSON'),
  lineCase('json-deep-whole', `${'['.repeat(60_000)}${']'.repeat(60_000)}`, /^not (?:JSON|a JSON object)$/),
  lineCase(
    'utf-8',
    Buffer.from([...Buffer.from('{"text": "'), 0xff, 0xc3, 0x28, ...Buffer.from('"}')]),
    'invalid UTF-8',
  ),
  lineCase('long-line', `{"text": "${'x'.repeat(1_000_000)}"}`, 'line longer than 100000 bytes', {
    maximumLineBytes: 100_000,
  }),
];

export const compressed: BadInputCase[] = [
  {
    name: 'gzip-cut',
    source: { type: 'jsonl' },
    write: async (folder) => {
      // A member for each line: what is before the cut is known.
      const members = goodLines(1, 6).map((line) => gzipSync(`${line}\n`));
      const whole = Buffer.concat(members);
      await put(folder, 'a.jsonl.gz', whole.subarray(0, whole.length - members[5].length - members[4].length / 2));
      await put(folder, 'b.jsonl', jsonl(goodLines(2, 2)));
    },
    bad: { 'a.jsonl.gz#5': /^damaged or truncated gzip \(unexpected end of file\)$/ },
    kept: [...numbered('a.jsonl.gz', 1, 4), ...numbered('b.jsonl', 1, 2)],
    repair: (folder) => put(folder, 'a.jsonl.gz', gzipSync(jsonl(goodLines(1, 6)))),
  },
  {
    name: 'gzip-none',
    source: { type: 'jsonl' },
    write: async (folder) => {
      await put(folder, 'a.jsonl.gz', jsonl(goodLines(3, 2)));
      await put(folder, 'b.jsonl', jsonl(goodLines(4, 2)));
    },
    bad: { 'a.jsonl.gz#1': 'damaged or truncated gzip (incorrect header check)' },
    kept: numbered('b.jsonl', 1, 2),
    repair: (folder) => put(folder, 'a.jsonl.gz', gzipSync(jsonl(goodLines(3, 2)))),
  },
  {
    name: 'gzip-bomb',
    source: { type: 'jsonl', maximumLineBytes: 100_000 },
    write: async (folder) => {
      const zeros = gzipSync(Buffer.alloc(16 * 1024 * 1024, 'x'));
      const parts = [gzipSync(`${goodLines(5, 1)[0]}\n{"text": "`), zeros, zeros];
      await put(folder, 'a.jsonl.gz', Buffer.concat([...parts, gzipSync(`"}\n${jsonl(goodLines(6, 1))}`)]));
    },
    bad: { 'a.jsonl.gz#2': 'line longer than 100000 bytes' },
    kept: ['a.jsonl.gz#1', 'a.jsonl.gz#3'],
    repair: (folder) => put(folder, 'a.jsonl.gz', gzipSync(jsonl([...goodLines(5, 1), ...goodLines(6, 1)]))),
  },
  {
    name: 'zstd-cut',
    source: { type: 'jsonl' },
    write: async (folder) => {
      await zstd(folder, 'a.jsonl.zst', goodLines(7, 3));
      await damage(folder, 'a.jsonl.zst', (bytes) => bytes.subarray(0, bytes.length - 40));
      await put(folder, 'b.jsonl', jsonl(goodLines(8, 2)));
    },
    // One block holds all of it.
    bad: { 'a.jsonl.zst#1': /^damaged or truncated zstd/ },
    kept: numbered('b.jsonl', 1, 2),
    repair: (folder) => zstd(folder, 'a.jsonl.zst', goodLines(7, 3)),
  },
  {
    name: 'zstd-window',
    source: { type: 'jsonl' },
    write: async (folder) => {
      // A frame that asks for a gigabyte, after a good one and one to be skipped.
      await zstd(folder, 'a.jsonl.zst', goodLines(11, 3));
      const skipped = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2]);
      const greedy = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 0x09, 0, 0, 0x7b]);
      await damage(folder, 'a.jsonl.zst', (bytes) => Buffer.concat([bytes, skipped, greedy]));
    },
    bad: { 'a.jsonl.zst#4': 'damaged or truncated zstd (a window of 1073741824 bytes)' },
    kept: numbered('a.jsonl.zst', 1, 3),
    repair: (folder) => zstd(folder, 'a.jsonl.zst', goodLines(11, 3)),
  },
  {
    name: 'zstd-none',
    source: { type: 'jsonl' },
    write: async (folder) => {
      await put(folder, 'a.jsonl.zst', jsonl(goodLines(9, 2)));
      await put(folder, 'b.jsonl', jsonl(goodLines(10, 2)));
    },
    bad: { 'a.jsonl.zst#1': /^damaged or truncated zstd/ },
    kept: numbered('b.jsonl', 1, 2),
    repair: remove('a.jsonl.zst'),
  },
];
