/**
 * A decoding step of a Llama-style decoder: one new token each of several sequences, from the tokens to the logits.
 *
 * Cost: reads every weight and each sequence's cached keys and values once. One launch where the backend has a kernel that takes the sizes (few
 * sequences, in bfloat16), else the operations one after the other; the results agree up to rounding.
 */
import { range, type Tensor, type Tensor2D, tidy, type Variable } from '@tensorflow/tfjs-core';
import { decoderStepLayerInputs, XgDecoderStep, type XgDecoderStepAttrs } from '../kernel-names';
import { KernelsError } from '../kernels-error';
import { type ArgumentSpecification, checkInteger, checkNumber, checkTensors, checkVariables } from './check-tensors';
import { checkCumulativeLengths, checkIdRange } from './check-values';
import { type AttentionShape, checkAttentionShape, qkvWidth } from './grouped-query-attention';
import { embedding } from './embedding';
import { isHostBackend } from './host-memory';
import { increment } from './increment';
import { linear } from './linear';
import { checkTables, pagedAttention, type PagedSequences } from './paged-attention';
import { refuseRecording } from './paged-cache';
import { residualFeedForward } from './residual-feed-forward';
import { rmsNorm } from './rms-norm';
import { residualRmsNormLinear, rmsNormLinear } from './rms-norm-linear';
import { ropeAppend } from './rope-append';
import { hasKernel, runKernel } from './run-kernel';

/** A layer's weights, float32, and its caches. */
export interface DecoderStepLayer {
  /** [D] */
  attentionNorm: Tensor;
  /** [(Hq+2Hkv)·hd, D] */
  qkv: Tensor;
  /** [D, Hq·hd] */
  output: Tensor;
  /** [D] */
  feedForwardNorm: Tensor;
  /** [2F, D], gates first. */
  gateUp: Tensor;
  /** [D, F] */
  down: Tensor;
  /** [blocks·blockSize, Hkv·hd], as `createPagedCache` makes them. */
  keyCache: Variable;
  valueCache: Variable;
}

export interface DecoderStepModel {
  /** At least one. */
  layers: readonly DecoderStepLayer[];
  /** [D] */
  finalNorm: Tensor;
  /** [V, D] */
  head: Tensor;
  /** [hd/2] */
  inverseFrequencies: Tensor;
}

/** The new tokens as rows of a table, which are looked up on the way. */
export interface DecoderStepTokens {
  /** float32 [T, D] */
  table: Tensor;
  /** int32 [N], 0 ≤ id < T. */
  ids: Tensor;
}

/** Where the new tokens belong, int32. Variables where the sequences advance. */
export interface DecoderStepSequences {
  /** [N], for the rotary positions. */
  positions: Tensor;
  /** [N]: the rows of the caches that take the new keys and values; row n's is where blockTables[n] has position contextLengths[n] − 1. */
  slots: Tensor;
  /** [N]: tokens of each sequence, the new one included. */
  contextLengths: Tensor;
  /** [N, maxBlocks], as in `pagedAttention`. */
  blockTables: Tensor;
  /** [N+1], 0 … N: made anew in every call where it is not given, if `pagedAttention` is what attends. */
  cumulativeQueryLengths?: Tensor;
}

export interface DecoderStepOptions extends AttentionShape {
  blockSize: number;
  /** As in `rmsNorm`, of all norms. */
  epsilon: number;
  /** As in `rope`; default 1. */
  attentionScaling?: number;
  /** As in `linear`, of the logits. Default false. */
  float32Output?: boolean;
  /**
   * Afterwards positions, slots and contextLengths are one more, as by `increment`: the next step's, as long as a sequence's rows of the caches follow
   * each other. Default false.
   */
  advance?: boolean;
}

/**
 * The logits after one more token of each of N sequences, whose keys and values are appended to the caches:
 * for every layer `rmsNorm`, `linear` (qkv), `ropeAppend`, `pagedAttention`, `linear` (output) added to the stream, and `residualFeedForward`; then
 * `rmsNorm` and `linear` (head).
 *
 * tokens: float32 [N, D], embedded already, or ids and their table → float32 [N, V]. No two rows may name one slot. Inference only.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, OUT_OF_RANGE, NO_GRADIENT (inside a differentiated function)
 */
export function decoderStep(
  tokens: Tensor | DecoderStepTokens,
  model: DecoderStepModel,
  sequences: DecoderStepSequences,
  options: DecoderStepOptions,
): Tensor2D {
  const shape = checkAttentionShape('decoderStep', options);
  const { blockSize, epsilon, attentionScaling = 1, float32Output = false, advance = false } = options;
  checkInteger('decoderStep', 'blockSize', blockSize, 1);
  checkNumber('decoderStep', 'epsilon', epsilon, { minimum: 0 });
  checkNumber('decoderStep', 'attentionScaling', attentionScaling);
  refuseRecording('decoderStep');
  if (shape.headDimension % 2 !== 0) {
    throw new KernelsError('WRONG_OPTION', `decoderStep: headDimension must be even, but is ${shape.headDimension}.`, {
      value: shape.headDimension,
    });
  }
  if (model.layers.length === 0) {
    throw new KernelsError(
      'WRONG_OPTION',
      'decoderStep: the model must have at least one layer, but layers is empty.',
      {
        value: 0,
      },
    );
  }
  const { N, rows, T } = checkModel(tokens, model, sequences, shape);
  if (!isStream(tokens)) checkIdRange('decoderStep', 'ids', tokens.ids, T);
  checkIdRange('decoderStep', 'slots', sequences.slots, rows);
  const { positions, slots, contextLengths } = sequences;
  if (advance) checkVariables('decoderStep', { positions, slots, contextLengths });
  const paged = (): PagedSequences => ({
    contextLengths: sequences.contextLengths,
    blockTables: sequences.blockTables,
    cumulativeQueryLengths: sequences.cumulativeQueryLengths ?? range(0, N + 1, 1, 'int32'),
  });
  if (isHostBackend()) {
    tidy(() => {
      checkTables('decoderStep', paged(), rows, blockSize);
    });
  }
  const attributes: XgDecoderStepAttrs = {
    ...shape,
    blockSize,
    epsilon,
    attentionScaling,
    float32Output,
    advance,
    layers: model.layers.length,
  };
  if (hasKernel(XgDecoderStep)) {
    const [logits] = runKernel(XgDecoderStep, kernelInputs(tokens, model, sequences), attributes);
    if (logits !== undefined) return logits as Tensor2D;
  }
  const result = tidy(() => {
    const pagedSequences = paged();
    let passed = isStream(tokens) ? (tokens as Tensor2D) : embedding(tokens.table, tokens.ids);
    for (const layer of model.layers) {
      const { product, residual } = residualRmsNormLinear(passed, layer.attentionNorm, layer.qkv, { epsilon });
      const { keyCache, valueCache } = layer;
      const { positions, slots } = sequences;
      const rotation = { ...shape, blockSize, attentionScaling };
      const qkv = ropeAppend(keyCache, valueCache, product, positions, model.inverseFrequencies, slots, rotation);
      const attended = pagedAttention(qkv, keyCache, valueCache, pagedSequences, { ...shape, blockSize });
      const middle = linear(attended, layer.output, { residual });
      passed = residualFeedForward(middle, layer.feedForwardNorm, layer.gateUp, layer.down, { epsilon });
    }
    if (!float32Output) return rmsNormLinear(passed, model.finalNorm, model.head, { epsilon });
    return linear(rmsNorm(passed, model.finalNorm, { epsilon }), model.head, { float32Output });
  });
  if (advance) increment([positions, slots, contextLengths] as Variable[]);
  return result;
}

const isStream = (tokens: Tensor | Partial<DecoderStepTokens> | undefined): tokens is Tensor =>
  (tokens as Partial<DecoderStepTokens> | undefined)?.table === undefined;

function checkModel(
  tokens: Tensor | DecoderStepTokens,
  { layers, finalNorm, head, inverseFrequencies }: DecoderStepModel,
  { positions, slots, contextLengths, blockTables, cumulativeQueryLengths }: DecoderStepSequences,
  shape: Required<AttentionShape>,
): Record<string, number> {
  const [qkvRows, attended] = [qkvWidth(shape), shape.queryHeads * shape.headDimension];
  const cached = shape.keyValueHeads * shape.headDimension;
  const given: Record<string, ArgumentSpecification> = isStream(tokens)
    ? { tokens: [tokens, 'float32', ['N', 'D']] }
    : { table: [tokens.table, 'float32', ['T', 'D']], ids: [tokens.ids, 'int32', ['N']] };
  const sizes = checkTensors('decoderStep', {
    ...given,
    positions: [positions, 'int32', ['N']],
    slots: [slots, 'int32', ['N']],
    contextLengths: [contextLengths, 'int32', ['N']],
    blockTables: [blockTables, 'int32', ['N', 'maxBlocks']],
    inverseFrequencies: [inverseFrequencies, 'float32', [shape.headDimension / 2]],
    finalNorm: [finalNorm, 'float32', ['D']],
    head: [head, 'float32', ['V', 'D']],
    keyCache: [layers[0].keyCache, 'float32', ['rows', cached]],
    down: [layers[0].down, 'float32', ['D', 'F']],
  });
  const { N, D, F, rows } = sizes;
  if (cumulativeQueryLengths !== undefined) {
    checkTensors('decoderStep', { cumulativeQueryLengths: [cumulativeQueryLengths, 'int32', [N + 1]] });
    checkCumulativeLengths('decoderStep', 'cumulativeQueryLengths', cumulativeQueryLengths, N);
  }
  for (const layer of layers) {
    checkTensors('decoderStep', {
      attentionNorm: [layer.attentionNorm, 'float32', [D]],
      qkv: [layer.qkv, 'float32', [qkvRows, D]],
      output: [layer.output, 'float32', [D, attended]],
      feedForwardNorm: [layer.feedForwardNorm, 'float32', [D]],
      gateUp: [layer.gateUp, 'float32', [2 * F, D]],
      down: [layer.down, 'float32', [D, F]],
      keyCache: [layer.keyCache, 'float32', [rows, cached]],
      valueCache: [layer.valueCache, 'float32', [rows, cached]],
    });
  }
  return sizes;
}

function kernelInputs(
  tokens: Tensor | DecoderStepTokens,
  { layers, finalNorm, head, inverseFrequencies }: DecoderStepModel,
  { positions, slots, contextLengths, blockTables }: DecoderStepSequences,
): Record<string, Tensor> {
  const inputs: Record<string, Tensor> = {
    ...(isStream(tokens) ? { stream: tokens } : { table: tokens.table, ids: tokens.ids }),
    finalNorm,
    head,
    inverseFrequencies,
    positions,
    slots,
    contextLengths,
    blockTables,
  };
  layers.forEach((layer, index) => {
    for (const name of decoderStepLayerInputs) inputs[`${name}${index}`] = layer[name];
  });
  return inputs;
}
