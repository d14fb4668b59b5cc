/**
 * A Llama decoder's forward pass in plain float64 loops, written from the architecture alone: what the package's losses and
 * gradients are checked against. One sequence at a time, no batching, no kernels. Slow, and only for tiny models.
 */
import type { CausalLanguageModel, ModelConfig } from '@xgen-small/model-core';

export interface Matrix {
  rows: number;
  columns: number;
  values: Float64Array;
}
export type Parameters = Map<string, Matrix>;

export function float64Parameters(model: CausalLanguageModel): Parameters {
  return new Map(
    [...model.parameters].map(([name, variable]) => {
      const [rows, columns] = variable.rank === 1 ? [1, variable.shape[0]] : (variable.shape as [number, number]);
      return [name, { rows, columns, values: Float64Array.from(variable.dataSync()) }];
    }),
  );
}

type Row = Float64Array;

/** x · Wᵀ */
function project(x: Row, weight: Matrix): Row {
  return Float64Array.from({ length: weight.rows }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < weight.columns; i++) sum += weight.values[row * weight.columns + i] * x[i];
    return sum;
  });
}

function normalize(x: Row, weight: Matrix, epsilon: number): Row {
  const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  return x.map((value, i) => (value / Math.sqrt(meanSquare + epsilon)) * weight.values[i]);
}

function rotate(head: Row, position: number, base: number): Row {
  const half = head.length / 2;
  return head.map((value, i) => {
    const angle = position * base ** (-(2 * (i % half)) / head.length);
    const partner = i < half ? -head[i + half] : head[i - half];
    return value * Math.cos(angle) + partner * Math.sin(angle);
  });
}

function attend(config: ModelConfig, qkv: Row[]): Row[] {
  const { queryHeads, keyValueHeads, headDimension: size, rope } = config;
  const part = (row: Row, head: number): Row => row.slice(head * size, (head + 1) * size);
  const keys = qkv.map((row, t) =>
    Array.from({ length: keyValueHeads }, (_, h) => rotate(part(row, queryHeads + h), t, rope.base)),
  );
  return qkv.map((row, t) => {
    const out = new Float64Array(queryHeads * size);
    for (let h = 0; h < queryHeads; h++) {
      const query = rotate(part(row, h), t, rope.base);
      const group = Math.floor(h / (queryHeads / keyValueHeads));
      const scores = keys
        .slice(0, t + 1)
        .map((key) => key[group].reduce((sum, value, i) => sum + value * query[i], 0) / Math.sqrt(size));
      const largest = Math.max(...scores);
      const exponentials = scores.map((score) => Math.exp(score - largest));
      const total = exponentials.reduce((a, b) => a + b, 0);
      exponentials.forEach((weight, s) => {
        const value = part(qkv[s], queryHeads + keyValueHeads + group);
        for (let i = 0; i < size; i++) out[h * size + i] += (weight / total) * value[i];
      });
    }
    return out;
  });
}

const add = (a: Row, b: Row): Row => a.map((value, i) => value + b[i]);

/** Hidden states after the final norm, one row a token. */
export function hiddenStates(config: ModelConfig, parameters: Parameters, tokens: ArrayLike<number>): Row[] {
  const get = (name: string): Matrix => parameters.get(name)!;
  const embedding = get('model.embed_tokens.weight');
  let x: Row[] = Array.from(tokens, (token) =>
    embedding.values.slice(token * embedding.columns, (token + 1) * embedding.columns),
  );
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const normed = x.map((row) => normalize(row, get(`${prefix}.input_layernorm.weight`), config.rmsNormEpsilon));
    const qkv = normed.map((row) => project(row, get(`${prefix}.self_attn.qkv_proj.weight`)));
    const attended = attend(config, qkv).map((row) => project(row, get(`${prefix}.self_attn.o_proj.weight`)));
    x = x.map((row, t) => add(row, attended[t]));
    x = x.map((row) => {
      const input = normalize(row, get(`${prefix}.post_attention_layernorm.weight`), config.rmsNormEpsilon);
      const both = project(input, get(`${prefix}.mlp.gate_up_proj.weight`));
      const half = both.length / 2;
      const inner = both.slice(0, half).map((gate, i) => (gate / (1 + Math.exp(-gate))) * both[half + i]);
      return add(row, project(inner, get(`${prefix}.mlp.down_proj.weight`)));
    });
  }
  return x.map((row) => normalize(row, get('model.norm.weight'), config.rmsNormEpsilon));
}

/** log p(tokens[t] | tokens before t) for t from `from` on. */
export function logProbabilities(
  config: ModelConfig,
  parameters: Parameters,
  tokens: ArrayLike<number>,
  from: number,
  temperature = 1,
): number[] {
  const hidden = hiddenStates(config, parameters, tokens);
  const head = parameters.get(config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight')!;
  return Array.from({ length: tokens.length - from }, (_, i) => {
    const logits = project(hidden[from + i - 1], head).map((logit) => logit / temperature);
    const largest = Math.max(...logits);
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
    return logits[tokens[from + i]] - largest - Math.log(total);
  });
}

/**
 * Central differences of `loss` in some of the values of each parameter: those whose indices are multiples of a stride
 * that leaves about `perParameter` of them.
 */
export function* finiteDifferences(
  parameters: Parameters,
  loss: () => number,
  perParameter = 6,
  step = 1e-5,
): Generator<{ name: string; index: number; slope: number }> {
  for (const [name, { values }] of parameters) {
    const stride = Math.max(1, Math.floor(values.length / perParameter));
    for (let index = stride >> 1; index < values.length; index += stride) {
      const value = values[index];
      values[index] = value + step;
      const above = loss();
      values[index] = value - step;
      const below = loss();
      values[index] = value;
      yield { name, index, slope: (above - below) / (2 * step) };
    }
  }
}
