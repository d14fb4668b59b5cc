/**
 * A Llama decoder in plain float64 loops over Hugging Face's separate weights, written from the published
 * descriptions and sharing no code with the package: the yardstick of the golden tests.
 */
import type { ModelConfig } from '../../src/index.js';

export type Weights = (name: string) => ArrayLike<number>;

type Matrix = number[][];

function matrix(flat: ArrayLike<number>, columns: number): Matrix {
  const rows: Matrix = [];
  for (let i = 0; i < flat.length; i += columns) {
    rows.push(Array.from({ length: columns }, (_, j) => flat[i + j]));
  }
  return rows;
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);
const apply = (weight: Matrix, x: readonly number[]): number[] => weight.map((row) => dot(row, x));

function rmsNorm(x: readonly number[], weight: ArrayLike<number>, epsilon: number): number[] {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + epsilon);
  return x.map((value, i) => value * scale * weight[i]);
}

/** Angle per position of each pair, and the factor on cosines and sines, from the papers' formulas. */
function rotation(config: ModelConfig): { speeds: number[]; magnitude: number } {
  const { base, scaling } = config.rope;
  const half = config.headDimension / 2;
  const speeds = Array.from({ length: half }, (_, i) => 1 / Math.pow(base, i / half));
  if (scaling === undefined) return { speeds, magnitude: 1 };
  if (scaling.type === 'linear') return { speeds: speeds.map((s) => s / scaling.factor), magnitude: 1 };
  if (scaling.type === 'yarn') {
    const length = scaling.originalMaximumPositions ?? config.maximumPositions;
    const border = (turns: number): number => (half * Math.log(length / (turns * 2 * Math.PI))) / Math.log(base);
    const from = Math.max(0, Math.floor(border(scaling.betaFast ?? 32)));
    const to = Math.min(config.headDimension - 1, Math.ceil(border(scaling.betaSlow ?? 1)));
    const mixed = speeds.map((speed, i) => {
      const share = from === to ? (i > from ? 1 : 0) : Math.min(1, Math.max(0, (i - from) / (to - from)));
      return speed * (1 - share) + (speed / scaling.factor) * share;
    });
    return { speeds: mixed, magnitude: scaling.attentionFactor ?? 1 + 0.1 * Math.log(scaling.factor) };
  }
  if (scaling.type === 'llama3') {
    const speedsOut = speeds.map((speed) => {
      const wavelength = (2 * Math.PI) / speed;
      const { originalMaximumPositions: length, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
      if (wavelength < length / high) return speed;
      if (wavelength > length / low) return speed / scaling.factor;
      const blend = (length / wavelength - low) / (high - low);
      return (1 - blend) * (speed / scaling.factor) + blend * speed;
    });
    return { speeds: speedsOut, magnitude: 1 };
  }
  throw new Error(`the reference knows no ${scaling.type}`);
}

function rotate(head: number[], position: number, speeds: number[], magnitude: number): number[] {
  const half = head.length / 2;
  const out = new Array<number>(head.length);
  for (let i = 0; i < half; i++) {
    const cosine = Math.cos(position * speeds[i]) * magnitude;
    const sine = Math.sin(position * speeds[i]) * magnitude;
    out[i] = head[i] * cosine - head[i + half] * sine;
    out[i + half] = head[i + half] * cosine + head[i] * sine;
  }
  return out;
}

const heads = (row: number[], size: number): number[][] =>
  Array.from({ length: row.length / size }, (_, h) => row.slice(h * size, (h + 1) * size));

/** Logits [tokens][V] of one document. */
export function referenceLogits(config: ModelConfig, weights: Weights, tokens: readonly number[]): number[][] {
  const { hiddenSize: D, intermediateSize: F, headDimension: hd, queryHeads, keyValueHeads } = config;
  const embedding = matrix(weights('model.embed_tokens.weight'), D);
  const head = config.tieWordEmbeddings ? embedding : matrix(weights('lm_head.weight'), D);
  const { speeds, magnitude } = rotation(config);
  let stream = tokens.map((token) => [...embedding[token]]);
  for (let layer = 0; layer < config.layers; layer++) {
    const get = (name: string, columns: number): Matrix =>
      matrix(weights(`model.layers.${layer}.${name}.weight`), columns);
    const [wq, wk, wv] = [get('self_attn.q_proj', D), get('self_attn.k_proj', D), get('self_attn.v_proj', D)];
    const wo = get('self_attn.o_proj', queryHeads * hd);
    const inputNorm = weights(`model.layers.${layer}.input_layernorm.weight`);
    const normed = stream.map((x) => rmsNorm(x, inputNorm, config.rmsNormEpsilon));
    const turn = (row: number[], t: number): number[][] => heads(row, hd).map((h) => rotate(h, t, speeds, magnitude));
    const queries = normed.map((x, t) => turn(apply(wq, x), t));
    const keys = normed.map((x, t) => turn(apply(wk, x), t));
    const values = normed.map((x) => heads(apply(wv, x), hd));
    stream = stream.map((x, t) => {
      const attended = queries[t].flatMap((query, h) => {
        const group = Math.floor(h / (queryHeads / keyValueHeads));
        const scores = Array.from({ length: t + 1 }, (_, s) => dot(query, keys[s][group]) / Math.sqrt(hd));
        const top = Math.max(...scores);
        const shares = scores.map((score) => Math.exp(score - top));
        const total = shares.reduce((a, b) => a + b, 0);
        return Array.from({ length: hd }, (_, c) =>
          shares.reduce((sum, share, s) => sum + (share / total) * values[s][group][c], 0),
        );
      });
      return apply(wo, attended).map((value, i) => x[i] + value);
    });
    const [gate, up, down] = [get('mlp.gate_proj', D), get('mlp.up_proj', D), get('mlp.down_proj', F)];
    const postNorm = weights(`model.layers.${layer}.post_attention_layernorm.weight`);
    stream = stream.map((x) => {
      const normed2 = rmsNorm(x, postNorm, config.rmsNormEpsilon);
      const ups = apply(up, normed2);
      const inner = apply(gate, normed2).map((g, i) => (g / (1 + Math.exp(-g))) * ups[i]);
      return apply(down, inner).map((value, i) => x[i] + value);
    });
  }
  const finalNorm = weights('model.norm.weight');
  return stream.map((x) => apply(head, rmsNorm(x, finalNorm, config.rmsNormEpsilon)));
}

export function logSoftmax(row: readonly number[]): number[] {
  const top = Math.max(...row);
  const logSum = top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0));
  return row.map((x) => x - logSum);
}
