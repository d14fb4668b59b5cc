/**
 * Every parameter of a decoder: its name and shape in memory, where q, k, v and gate, up are one matrix each (one
 * product instead of three), and the tensors it is in Hugging Face files. Rows of a fused matrix are its parts' rows
 * in order, so splitting is slicing.
 */
import type { ModelConfig } from '../config/model-config.js';

export interface ParameterPart {
  /** Hugging Face's name in files. */
  name: string;
  shape: number[];
}

export interface ParameterLayout {
  /** Name in memory; equals the part's where there is one part. */
  name: string;
  shape: number[];
  /** 'residual' matrices write into the residual stream. */
  initialValue: 'normal' | 'embedding' | 'residual' | 'ones';
  parts: ParameterPart[];
}

/** Names of one block's parameters in memory. */
export function blockParameterNames(layer: number) {
  const prefix = `model.layers.${layer}`;
  return {
    inputNorm: `${prefix}.input_layernorm.weight`,
    qkv: `${prefix}.self_attn.qkv_proj.weight`,
    attentionOutput: `${prefix}.self_attn.o_proj.weight`,
    postAttentionNorm: `${prefix}.post_attention_layernorm.weight`,
    gateUp: `${prefix}.mlp.gate_up_proj.weight`,
    down: `${prefix}.mlp.down_proj.weight`,
  };
}

export const embeddingName = 'model.embed_tokens.weight';
export const finalNormName = 'model.norm.weight';
export const headName = 'lm_head.weight';

function single(name: string, shape: number[], initialValue: ParameterLayout['initialValue']): ParameterLayout {
  return { name, shape, initialValue, parts: [{ name, shape }] };
}

/** A matrix [sum of rows, columns] made of parts named by replacing the last component's stem. */
function fused(name: string, columns: number, parts: [string, number][]): ParameterLayout {
  const prefix = name.replace(/[^.]+\.weight$/, '');
  return {
    name,
    shape: [parts.reduce((rows, part) => rows + part[1], 0), columns],
    initialValue: 'normal',
    parts: parts.map(([part, rows]) => ({ name: `${prefix}${part}.weight`, shape: [rows, columns] })),
  };
}

/** All parameters, in the order of computation. A tied head is the embedding and has no entry of its own. */
export function parameterLayout(config: ModelConfig): ParameterLayout[] {
  const { hiddenSize, intermediateSize, queryHeads, keyValueHeads, headDimension, vocabularySize } = config;
  const queryRows = queryHeads * headDimension;
  const keyRows = keyValueHeads * headDimension;
  const blocks = Array.from({ length: config.layers }, (_, layer): ParameterLayout[] => {
    const names = blockParameterNames(layer);
    return [
      single(names.inputNorm, [hiddenSize], 'ones'),
      fused(names.qkv, hiddenSize, [
        ['q_proj', queryRows],
        ['k_proj', keyRows],
        ['v_proj', keyRows],
      ]),
      single(names.attentionOutput, [hiddenSize, queryRows], 'residual'),
      single(names.postAttentionNorm, [hiddenSize], 'ones'),
      fused(names.gateUp, hiddenSize, [
        ['gate_proj', intermediateSize],
        ['up_proj', intermediateSize],
      ]),
      single(names.down, [hiddenSize, intermediateSize], 'residual'),
    ];
  });
  return [
    single(embeddingName, [vocabularySize, hiddenSize], 'embedding'),
    ...blocks.flat(),
    single(finalNormName, [hiddenSize], 'ones'),
    ...(config.tieWordEmbeddings ? [] : [single(headName, [vocabularySize, hiddenSize], 'embedding')]),
  ];
}

/** Values of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * Numbers of parameters. `nonEmbedding` leaves out the input embedding and an untied head; 6 · nonEmbedding · tokens
 * is the usual count of a training step's arithmetic.
 */
export function parameterCount(config: ModelConfig): { total: number; nonEmbedding: number } {
  let total = 0;
  let nonEmbedding = 0;
  for (const { name, shape } of parameterLayout(config)) {
    total += elementCount(shape);
    if (name !== embeddingName && name !== headName) nonEmbedding += elementCount(shape);
  }
  return { total, nonEmbedding };
}
