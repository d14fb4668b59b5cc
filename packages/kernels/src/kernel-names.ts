/**
 * The contract of the fused kernels: the name each is registered under, its inputs, attributes and outputs.
 *
 * Whoever implements a kernel for a backend and whoever calls it both read this file and nothing else. It knows no
 * backend and costs nothing: names are string constants, the rest is types.
 *
 * Legend: `N` tokens of a packed batch, `B` sequences, `D` model width, `F` feed-forward width, `V` vocabulary, `Hq`/`Hkv`
 * query/key-value heads, `hd` head size. Tensors are float32 unless int32 is said.
 *
 * Gradient kernels of several inputs return their gradients in the order stated. `needs` (same order; absent = all
 * needed) says which are wanted: the result holds only the gradients wanted, still in that order, and the others cost
 * nothing.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';

/** Rows of a table. Inputs weight [V,D], ids int32 [N] (0 ≤ id < V) → [output [N,D]]. */
export const XgEmbedding = 'XgEmbedding';
export type XgEmbeddingInputs = { weight: TensorInfo; ids: TensorInfo };

/** ids int32 [N], dy [N,D] → [dWeight [V,D]]; rows are added in the order of `ids`, so the result is deterministic. */
export const XgEmbeddingGrad = 'XgEmbeddingGrad';
export type XgEmbeddingGradInputs = { ids: TensorInfo; dy: TensorInfo };
export type XgEmbeddingGradAttrs = { vocabularySize: number };

/** x [N,D], weight [D] → [y [N,D], inverseRms [N]]; inverseRms = 1/√(mean(x²) + epsilon), y = x · inverseRms · weight. */
export const XgRmsNorm = 'XgRmsNorm';
export type XgRmsNormInputs = { x: TensorInfo; weight: TensorInfo };
export type XgRmsNormAttrs = { epsilon: number };

/** → [dx [N,D], dWeight [D]]. */
export const XgRmsNormGrad = 'XgRmsNormGrad';
export type XgRmsNormGradInputs = { x: TensorInfo; weight: TensorInfo; inverseRms: TensorInfo; dy: TensorInfo };
export type XgRmsNormGradAttrs = { needs?: boolean[] };

/** x [N,D], residual [N,D], weight [D] → [y [N,D], sum [N,D], inverseRms [N]]; sum = x + residual, y = rmsNorm(sum). */
export const XgAddRmsNorm = 'XgAddRmsNorm';
export type XgAddRmsNormInputs = { x: TensorInfo; residual: TensorInfo; weight: TensorInfo };
export type XgAddRmsNormAttrs = { epsilon: number };

/** x [N,D], weight [D] → [y [N,D], x itself, inverseRms [N]]; the gradient is XgAddRmsNormGrad's. */
export const XgResidualRmsNorm = 'XgResidualRmsNorm';
export type XgResidualRmsNormInputs = { x: TensorInfo; weight: TensorInfo };
export type XgResidualRmsNormAttrs = { epsilon: number };

/**
 * → [dSumTotal [N,D], dWeight [D]]. `dSumTotal` (the gradient that reaches `sum` from the norm, plus `dSum`) is the gradient of
 * both x and residual. `dSum` may be left out when nothing but the norm used `sum`.
 */
export const XgAddRmsNormGrad = 'XgAddRmsNormGrad';
export type XgAddRmsNormGradInputs = {
  sum: TensorInfo;
  weight: TensorInfo;
  inverseRms: TensorInfo;
  dy: TensorInfo;
  dSum?: TensorInfo;
};
export type XgAddRmsNormGradAttrs = { needs?: boolean[] };

/**
 * x [N,in], weight [out,in] → [y [N,out]] = x · weightᵀ. `float32Output`: y is stored in float32 even where the backend stores
 * activations in less.
 */
export const XgLinear = 'XgLinear';
export type XgLinearInputs = { x: TensorInfo; weight: TensorInfo };
export type XgLinearAttrs = { float32Output?: boolean };

/** x [N,in], weight [out,in], residual [N,out] → [y [N,out]] = x · weightᵀ + residual. The gradient is XgLinearGrad's. */
export const XgLinearAdd = 'XgLinearAdd';
export type XgLinearAddInputs = XgLinearInputs & { residual: TensorInfo };

/** x [N,in], weight [out,in], dy [N,out] → [dx [N,in], dWeight [out,in]]. */
export const XgLinearGrad = 'XgLinearGrad';
export type XgLinearGradInputs = { x: TensorInfo; weight: TensorInfo; dy: TensorInfo };
export type XgLinearGradAttrs = { needs?: boolean[] };

/**
 * qkv [N, heads·hd], positions int32 [N], inverseFrequencies [hd/2] → [output, same shape]. In each of the first `rotatedHeads`
 * heads, element i < hd/2 and its partner i + hd/2 turn by the float32 product positions[n] · inverseFrequencies[i] (Hugging Face's
 * rotate-half), and both are multiplied by `attentionScaling`; later heads are copied. `inverse` turns the other way
 * (still multiplied by attentionScaling): applied to dy it is the gradient.
 */
export const XgRope = 'XgRope';
export type XgRopeInputs = { qkv: TensorInfo; positions: TensorInfo; inverseFrequencies: TensorInfo };
export type XgRopeAttrs = { rotatedHeads: number; headDimension: number; attentionScaling: number; inverse: boolean };

/** Shape of a packed qkv row: query heads, then key heads, then value heads, each of `headDimension`. */
export type XgAttentionAttrs = { queryHeads: number; keyValueHeads: number; headDimension: number; scale: number };

/**
 * qkv [N,(Hq+2Hkv)·hd], cumulativeLengths int32 [documents+1] (0 … N, not decreasing) → [out [N,Hq·hd], logSumExp [N,Hq]].
 * Causal inside each document; logSumExp is of the scaled scores.
 */
export const XgAttention = 'XgAttention';
export type XgAttentionInputs = { qkv: TensorInfo; cumulativeLengths: TensorInfo };

/** → [dQkv, shape of qkv]. `dy` is the gradient of `out`. */
export const XgAttentionGrad = 'XgAttentionGrad';
export type XgAttentionGradInputs = {
  qkv: TensorInfo;
  cumulativeLengths: TensorInfo;
  out: TensorInfo;
  logSumExp: TensorInfo;
  dy: TensorInfo;
};

/** gateUp [N,2F] → [y [N,F]] = silu(gate) · up; gate is the first half of a row. */
export const XgSwiglu = 'XgSwiglu';
export type XgSwigluInputs = { gateUp: TensorInfo };

/** x [N,in], weight [2F,in] (rows of gates, then of ups) → [y [N,F]] = swiglu(x · weightᵀ). Inference only. */
export const XgLinearSwiglu = 'XgLinearSwiglu';
export type XgLinearSwigluInputs = { x: TensorInfo; weight: TensorInfo };

/**
 * x [N,in], norm [in], weight [out,in] → [y [N,out]] = rmsNorm(x, norm) · weightᵀ; `gated`: weight [2F,in] as XgLinearSwiglu has it → [N,F], the
 * swiglu of the product. Inference only.
 */
export const XgRmsNormLinear = 'XgRmsNormLinear';
export type XgRmsNormLinearInputs = { x: TensorInfo; norm: TensorInfo; weight: TensorInfo };
export type XgRmsNormLinearAttrs = { epsilon: number; gated: boolean };

/** gateUp [N,2F], dy [N,F] → [dGateUp [N,2F]]. */
export const XgSwigluGrad = 'XgSwigluGrad';
export type XgSwigluGradInputs = { gateUp: TensorInfo; dy: TensorInfo };

/**
 * x [N,D], gateUpWeight [2F,D], downWeight [D,F], residual [N,D] (or left out) → [y [N,D], gateUp [N,2F], activation [N,F]]:
 * gateUp = x · gateUpWeightᵀ, activation = silu(gate) · up, y = activation · downWeightᵀ + residual.
 */
export const XgFeedForward = 'XgFeedForward';
export type XgFeedForwardInputs = {
  x: TensorInfo;
  gateUpWeight: TensorInfo;
  downWeight: TensorInfo;
  residual?: TensorInfo;
};

/** x [N,D], weight [2F,D] → [gateUp [N,2F], activation [N,F]]: what XgFeedForward makes before its last product. */
export const XgGatedLinear = 'XgGatedLinear';
export type XgGatedLinearInputs = { x: TensorInfo; weight: TensorInfo };

/** → [dx [N,D], dGateUpWeight [2F,D], dDownWeight [D,F]]; the residual's gradient is dy. */
export const XgFeedForwardGrad = 'XgFeedForwardGrad';
export type XgFeedForwardGradInputs = {
  x: TensorInfo;
  gateUpWeight: TensorInfo;
  downWeight: TensorInfo;
  gateUp: TensorInfo;
  activation: TensorInfo;
  dy: TensorInfo;
};

/**
 * hidden [N,D], weight [V,D], targets int32 [N] (0 ≤ target < V, or ignoreIndex) → [logProbabilities [N], logSumExp [N]].
 * Both are 0 where the target is `ignoreIndex`. Logits exist only a chunk at a time.
 */
export const XgLinearCrossEntropy = 'XgLinearCrossEntropy';
export type XgLinearCrossEntropyInputs = { hidden: TensorInfo; weight: TensorInfo; targets: TensorInfo };
export type XgLinearCrossEntropyAttrs = { ignoreIndex: number };

/** dy [N] is the gradient of logProbabilities → [dHidden [N,D], dWeight [V,D]]. */
export const XgLinearCrossEntropyGrad = 'XgLinearCrossEntropyGrad';
export type XgLinearCrossEntropyGradInputs = {
  hidden: TensorInfo;
  weight: TensorInfo;
  targets: TensorInfo;
  logSumExp: TensorInfo;
  dy: TensorInfo;
};
export type XgLinearCrossEntropyGradAttrs = { ignoreIndex: number; needs?: boolean[] };

/** Both in one pass, for a loss whose gradient with respect to every log-probability is `expectedGradient` → [logProbabilities [N], dHidden, dWeight]. */
export const XgLinearCrossEntropyWithGradient = 'XgLinearCrossEntropyWithGradient';
export type XgLinearCrossEntropyWithGradientAttrs = { ignoreIndex: number; expectedGradient: number };
/** Fails, at the next read at the latest, where an element of dy [N] whose target counts is not `expectedGradient` → []. */
export const XgExpectGradient = 'XgExpectGradient';
export type XgExpectGradientInputs = { dy: TensorInfo; targets: TensorInfo };

/**
 * One AdamW step over all parameters, in place, → []. Inputs, for i in 0 … count−1: `parameter<i>`, `gradient<i>`,
 * `firstMoment<i>`, `secondMoment<i>` (four of one shape), and `gradientScale` (scalar), by which every gradient is multiplied first.
 * With g the scaled gradient and `step` counted from 1:
 * m ← β1·m + (1−β1)·g; v ← β2·v + (1−β2)·g²; p ← p·(1 − learningRate·weightDecay[i]) − learningRate · m̂ / (√v̂ + epsilon),
 * m̂ = m/(1−β1^step), v̂ = v/(1−β2^step). Gradients are left as they are.
 *
 * Only where the host cannot reach the backend's memory: with the inputs `learningRate` (float32 []) and `step` (int32 []) those count, and the
 * attributes of their names don't.
 */
export const XgAdamW = 'XgAdamW';
export type XgAdamWInputs = { [name: string]: TensorInfo };
export type XgAdamWAttrs = {
  count: number;
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** One decay a parameter. */
  weightDecay: number[];
  /** Counted from 1. */
  step: number;
};

/**
 * Inputs `gradient0` … `gradient<count−1>` → [norm [], scale []]: the L2 norm over all elements (accumulated in float64) and
 * maximumNorm/norm where norm > maximumNorm, else 1. A norm that is NaN gives a NaN scale; `maximumNorm` may be Infinity.
 */
export const XgGlobalNorm = 'XgGlobalNorm';
export type XgGlobalNormInputs = { [name: string]: TensorInfo };
export type XgGlobalNormAttrs = { count: number; maximumNorm: number };

/**
 * Writes the key and value heads of each row of qkv [N,(Hq+2Hkv)·hd] to row slots[n] of keyCache and valueCache
 * [blocks·blockSize, Hkv·hd], in place, → []. slots int32 [N], 0 ≤ slot < rows of the cache.
 */
export const XgPagedCacheAppend = 'XgPagedCacheAppend';
export type XgPagedCacheAppendInputs = {
  keyCache: TensorInfo;
  valueCache: TensorInfo;
  qkv: TensorInfo;
  slots: TensorInfo;
};
export type XgPagedCacheAppendAttrs = { queryHeads: number; keyValueHeads: number; headDimension: number };

/** variable0, variable1, … int32 += by, in place, → []. */
export const XgIncrement = 'XgIncrement';
export type XgIncrementInputs = Record<string, TensorInfo>;
export type XgIncrementAttrs = { by: number; count: number };

/**
 * XgRope of the query and key heads of qkv, and XgPagedCacheAppend of the result → [output, shape of qkv]. Inference only.
 */
export const XgRopeAppend = 'XgRopeAppend';
export type XgRopeAppendInputs = XgPagedCacheAppendInputs & { positions: TensorInfo; inverseFrequencies: TensorInfo };
export type XgRopeAppendAttrs = XgPagedCacheAppendAttrs & { attentionScaling: number };

/**
 * Attention of N new tokens of B sequences over their paged caches (own keys and values already appended): qkv [N,(Hq+2Hkv)·hd]
 * (only the query heads are read), caches [blocks·blockSize, Hkv·hd], cumulativeQueryLengths int32 [B+1], contextLengths
 * int32 [B] (new tokens included), blockTables int32 [B, maxBlocks] (entries past a sequence's blocks are not read) →
 * [out [N,Hq·hd]]. Query i of sequence b sits at position contextLength − queryLength + i and sees positions 0 … that one.
 */
export const XgPagedAttention = 'XgPagedAttention';
export type XgPagedAttentionInputs = {
  qkv: TensorInfo;
  keyCache: TensorInfo;
  valueCache: TensorInfo;
  cumulativeQueryLengths: TensorInfo;
  contextLengths: TensorInfo;
  blockTables: TensorInfo;
};
export type XgPagedAttentionAttrs = XgAttentionAttrs & { blockSize: number };

/**
 * One more token of each of N sequences, from the embedded tokens `stream` [N,D], or rows `ids` int32 [N] of `table` [T,D], to the logits, and its
 * keys and values into the caches:
 * XgRmsNormLinear (qkv), XgRopeAppend, XgPagedAttention (one query a sequence), XgLinearAdd (output), XgRmsNormLinear gated (gate and up) and XgLinearAdd
 * (down) of each layer, then XgRmsNorm by `finalNorm` and XgLinear by `head` [V,D] → [logits [N,V]], or [] where the backend has no kernel for the sizes.
 * Inputs besides: positions, slots, contextLengths int32 [N], blockTables int32 [N, maxBlocks], inverseFrequencies [hd/2]; of layer i each of
 * `decoderStepLayerInputs` with i appended. advance: XgIncrement of positions, slots and contextLengths afterwards. Inference only.
 */
export const XgDecoderStep = 'XgDecoderStep';
export const decoderStepLayerInputs = [
  'attentionNorm',
  'qkv',
  'output',
  'feedForwardNorm',
  'gateUp',
  'down',
  'keyCache',
  'valueCache',
] as const;
export type XgDecoderStepInputs = { [name: string]: TensorInfo };
export type XgDecoderStepAttrs = XgPagedAttentionAttrs & {
  layers: number;
  epsilon: number;
  attentionScaling: number;
  float32Output: boolean;
  advance: boolean;
};

/**
 * logits [B,V]; temperature, topP, minP, uniforms [B]; topK int32 [B] → [ids int32 [B], logProbabilities [B]].
 *
 * temperature 0: the largest logit, the lowest id on a tie. Otherwise p = softmax(logits/temperature), tokens ranked by falling
 * logit (lower id first on a tie), and a token stays if it passes all filters that are on:
 * - topK > 0: it is among the first topK;
 * - topP < 1: the probability of the tokens ranked before it, out of those topK left, is < topP (the first always stays);
 * - minP > 0: p ≥ minP · largest p.
 * The draw walks the tokens that stay by rising id and takes the first whose running sum of p is > uniform · (sum of all that stay).
 * logProbabilities are log softmax(logits)[id]: temperature 1, no filter.
 */
export const XgSampleTokens = 'XgSampleTokens';
export type XgSampleTokensInputs = {
  logits: TensorInfo;
  temperature: TensorInfo;
  topK: TensorInfo;
  topP: TensorInfo;
  minP: TensorInfo;
  uniforms: TensorInfo;
};
/** XgSampleTokens, whose ids `into` takes as well, int32 [B], in place. */
export const XgSampleTokensInto = 'XgSampleTokensInto';
export type XgSampleTokensIntoInputs = XgSampleTokensInputs & { into: TensorInfo };
