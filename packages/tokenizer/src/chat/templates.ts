/** The chat templates that ship with the package, in Jinja as `transformers` runs it. */

/** ChatML (OpenAI, 2023): every turn is `<|im_start|>role\ncontent<|im_end|>\n`. Content is kept as it is. */
export const chatMlTemplate = `{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
`;

/**
 * The turn format of Llama 3 (`<|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>`), content trimmed as
 * there; starts with the bos token. Needs a tokenizer with those special tokens: `llama3SpecialTokens`.
 */
export const llama3Template = `{{- bos_token -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + (message['content'] | trim) + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{%- endif -%}
`;

/** Special tokens for `trainBytePairEncoding` that go with `llama3Template`. */
export const llama3SpecialTokens = [
  '<|begin_of_text|>',
  '<|end_of_text|>',
  '<|start_header_id|>',
  '<|end_header_id|>',
  '<|eot_id|>',
  '<|pad|>',
] as const;
