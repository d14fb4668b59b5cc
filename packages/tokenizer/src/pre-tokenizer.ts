/**
 * Pre-tokenizers: the presets as Hugging Face JSON, and the way back from a tokenizer.json to the rules that the
 * hand-written scanner follows. A pre-tokenizer that the scanner cannot follow exactly is refused, not approximated.
 */
import { z } from 'zod';
import { TokenizerError } from './errors.js';
import type { PreTokenizerPreset } from './types.js';

/** What the scanner needs to know; see pre-token-scanner.ts. */
export interface SplitRules {
  style: 'gpt2' | 'gpt4' | 'code';
  /** Most digits in one pre-token; Infinity for runs of any length. */
  maximumDigits: number;
  /** Each number character is cut out before anything else (Hugging Face's `Digits`), as in SmolLM. */
  isolateDigits: boolean;
}

const contraction = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`;
const gpt4Pattern = (digits: string) =>
  `${contraction}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const codePattern = (digits: string) =>
  `${contraction}(?!\\p{L})|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+|\\s*[\\r\\n]+[ \\t]*|\\s+(?!\\S)|\\s+`;
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`;

const threes = '\\p{N}{1,3}';
const single = '\\p{N}';

const presets: Record<PreTokenizerPreset, { pattern: string; rules: SplitRules }> = {
  llama3: { pattern: gpt4Pattern(threes), rules: { style: 'gpt4', maximumDigits: 3, isolateDigits: false } },
  'llama3-single-digits': {
    pattern: gpt4Pattern(single),
    rules: { style: 'gpt4', maximumDigits: 1, isolateDigits: false },
  },
  code: { pattern: codePattern(threes), rules: { style: 'code', maximumDigits: 3, isolateDigits: false } },
  'code-single-digits': {
    pattern: codePattern(single),
    rules: { style: 'code', maximumDigits: 1, isolateDigits: false },
  },
  gpt2: { pattern: gpt2Pattern, rules: { style: 'gpt2', maximumDigits: Infinity, isolateDigits: false } },
};

export const preTokenizerPresets = Object.freeze(Object.keys(presets)) as readonly PreTokenizerPreset[];

const byteLevel = (useRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

/** The `pre_tokenizer` of tokenizer.json for a preset. */
export function preTokenizerJson(preset: PreTokenizerPreset): unknown {
  if (preset === 'gpt2') return byteLevel(true);
  const split = {
    type: 'Split',
    pattern: { Regex: presets[preset].pattern },
    behavior: 'Isolated',
    invert: false,
  };
  return { type: 'Sequence', pretokenizers: [split, byteLevel(false)] };
}

export function presetRules(preset: PreTokenizerPreset): SplitRules {
  return presets[preset].rules;
}

const byteLevelSchema = z.object({
  type: z.literal('ByteLevel'),
  add_prefix_space: z.literal(false),
  trim_offsets: z.boolean().optional(),
  use_regex: z.boolean().default(true),
});
const splitSchema = z.object({
  type: z.literal('Split'),
  pattern: z.object({ Regex: z.string() }),
  behavior: z.enum(['Isolated', 'Removed']),
  invert: z.boolean(),
});
const digitsSchema = z.object({ type: z.literal('Digits'), individual_digits: z.literal(true) });
const sequenceSchema = z.object({ type: z.literal('Sequence'), pretokenizers: z.array(z.unknown()).min(1) });

/**
 * The rules behind a `pre_tokenizer` of tokenizer.json.
 * @throws TokenizerError `UNSUPPORTED_TOKENIZER` for anything else than the presets and SmolLM's digits + GPT-2 pattern.
 */
export function rulesFromJson(json: unknown): SplitRules {
  const sequence = sequenceSchema.safeParse(json);
  const steps = sequence.success ? sequence.data.pretokenizers : [json];
  const last = byteLevelSchema.safeParse(steps.at(-1));
  if (last.success && steps.length === 1 && last.data.use_regex) return presets.gpt2.rules;
  if (last.success && steps.length === 2) {
    const split = splitSchema.safeParse(steps[0]);
    if (split.success && !last.data.use_regex) {
      const { pattern, behavior, invert } = split.data;
      // Every alternative set covers all text, so isolating matches and removing what lies between them are one.
      const coversText = (behavior === 'Isolated' && !invert) || (behavior === 'Removed' && invert);
      const known = Object.values(presets).find((preset) => preset.pattern === pattern.Regex);
      if (coversText && known !== undefined) return known.rules;
    }
    if (digitsSchema.safeParse(steps[0]).success && last.data.use_regex) {
      return { style: 'gpt2', maximumDigits: 1, isolateDigits: true };
    }
  }
  throw new TokenizerError('UNSUPPORTED_TOKENIZER', `This pre_tokenizer is not known: ${JSON.stringify(json)}.`, {
    value: json,
    remedy: `Use a tokenizer with one of the patterns ${preTokenizerPresets.join(', ')} or SmolLM's digits + GPT-2 pattern.`,
  });
}
