/** zod's verdict on a request body as OpenAI's error: which parameter, what is wrong, and OpenAI's code for it. */

import type { z } from 'zod';
import { ApiError } from './api-error.js';

type Issue = z.core.$ZodIssue;

export function parseRequest<T extends z.ZodType>(schema: T, body: unknown): z.infer<T> {
  const result = schema.safeParse(body, { reportInput: true });
  if (result.success) return result.data;
  throw describe(result.error.issues[0], []);
}

function describe(issue: Issue, prefix: readonly PropertyKey[]): ApiError {
  const path = [...prefix, ...issue.path];
  const param = pathText(path);
  const refuse = (code: string, message: string, of = param): ApiError => new ApiError(400, message, code, of);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const unknown = pathText([...path, issue.keys[0]]);
      return refuse('unknown_parameter', `Unknown parameter: '${unknown}'.`, unknown);
    }
    case 'invalid_union': {
      // The alternative that got furthest is the one that was meant.
      const branches = issue.errors.filter((errors) => errors.length > 0);
      const meant = branches
        .filter(([first]) => first.path.length > 0 || first.code !== 'invalid_type')
        .toSorted(([a], [b]) => b.path.length - a.path.length)[0];
      if (meant) return describe(meant[0], path);
      const expected = branches.map(([first]) =>
        first.code === 'invalid_type' ? named(first.expected) : 'another value',
      );
      return wrongType(param, [...new Set(expected)].join(' or '), issue.input);
    }
    case 'invalid_type':
      if (issue.input === undefined)
        return refuse('missing_required_parameter', `Missing required parameter: '${param}'.`);
      return wrongType(param, named(issue.expected), issue.input);
    case 'too_big':
    case 'too_small':
      return outOfRange(param, issue);
    case 'custom': {
      const code: unknown = issue.params?.code;
      return refuse(typeof code === 'string' ? code : 'invalid_value', `Invalid '${param}': ${issue.message}.`);
    }
    case 'invalid_value':
      if (issue.input === undefined)
        return refuse('missing_required_parameter', `Missing required parameter: '${param}'.`);
      return refuse(
        'invalid_value',
        `Invalid value for '${param}': got ${shown(issue.input)}, and supported are ${issue.values.map(shown).join(', ')}.`,
      );
    default:
      return refuse('invalid_value', `Invalid '${param}': ${issue.message}.`);
  }
}

function wrongType(param: string | null, expected: string, input: unknown): ApiError {
  const message = `Invalid type for '${param}': expected ${expected}, but got ${named(typeOf(input))} instead.`;
  return new ApiError(400, message, 'invalid_type', param);
}

function outOfRange(param: string | null, issue: z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall): ApiError {
  const big = issue.code === 'too_big';
  const [sign, limit] = big
    ? [issue.inclusive === false ? '<' : '<=', issue.maximum]
    : [issue.inclusive === false ? '>' : '>=', issue.minimum];
  const side = big ? 'above' : 'below';
  if (issue.origin === 'array') {
    const code = !big && Number(limit) === 1 ? 'empty_array' : `array_${side}_${big ? 'max' : 'min'}_length`;
    return new ApiError(400, `Invalid '${param}': it must have ${sign} ${limit} elements.`, code, param);
  }
  if (issue.origin === 'string') {
    const code = !big && Number(limit) === 1 ? 'empty_string' : `string_${side}_${big ? 'max' : 'min'}_length`;
    return new ApiError(400, `Invalid '${param}': it must have ${sign} ${limit} characters.`, code, param);
  }
  const kind = issue.origin === 'int' ? 'integer' : 'decimal';
  const code = `${kind}_${side}_${big ? 'max' : 'min'}_value`;
  return new ApiError(
    400,
    `Invalid '${param}': ${kind} ${side} the ${big ? 'maximum' : 'minimum'}. Expected a value ${sign} ${limit}, but got ${shown(issue.input)}.`,
    code,
    param,
  );
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value;
}

const names: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'an integer',
  boolean: 'a boolean',
  array: 'an array',
  object: 'an object',
  null: 'null',
};

const named = (type: string): string => names[type] ?? type;

const shown = (value: unknown): string =>
  typeof value === 'string' ? `'${value.slice(0, 60)}'` : String(JSON.stringify(value));

/** `messages[0].content` */
function pathText(path: readonly PropertyKey[]): string | null {
  if (path.length === 0) return null;
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}
