/**
 * Drawing the next token of each sequence.
 *
 * Cost: O(V) a row, and a sort where topK or topP is on. Composed: on the host, in float64; the logits are read once.
 */
import { type Tensor, tensor1d, type Tensor1D, type Variable } from '@tensorflow/tfjs-core';
import { XgSampleTokens, XgSampleTokensInto } from '../kernel-names';
import { checkTensors, checkVariables } from './check-tensors';
import { KernelsError } from '../kernels-error';
import { isHostBackend, readValues } from './host-memory';
import { refuseRecording } from './paged-cache';
import { hasKernel, runKernel } from './run-kernel';

/** One entry a row of logits. */
export interface SamplingTensors {
  /** float32 [B], ≥ 0; 0 takes the largest logit. */
  temperature: Tensor;
  /** int32 [B]; 0 = off. */
  topK: Tensor;
  /** float32 [B] in (0, 1]; 1 = off. */
  topP: Tensor;
  /** float32 [B] in [0, 1]; 0 = off. */
  minP: Tensor;
  /** float32 [B] in [0, 1): all the randomness there is. */
  uniforms: Tensor;
}

export interface SampledTokens {
  /** int32 [B]. */
  ids: Tensor1D;
  /** float32 [B]: log softmax(logits)[id], temperature 1 and no filter. */
  logProbabilities: Tensor1D;
}

/**
 * Draws one token a row. Temperature 0: the largest logit, the lowest id on a tie. Otherwise p = softmax(logits/temperature), tokens
 * ranked by falling logit (lower id first on a tie), and a token stays if it is among the first topK, if the probability ranked
 * before it (out of those topK) is < topP, and if p ≥ minP · largest p. The draw walks those that stay by rising id and takes the first whose running sum
 * exceeds uniform · their total.
 *
 * logits float32 [B,V], finite or −Infinity. `into`, int32 [B], takes the ids as well: in place where the backend can (it must be the only owner of
 * its data), so that a captured step finds there what it drew last. Inference only.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, OUT_OF_RANGE, NO_GRADIENT (inside a differentiated function)
 */
export function sampleTokens(logits: Tensor, options: SamplingTensors, into?: Variable): SampledTokens {
  refuseRecording('sampleTokens');
  const { temperature, topK, topP, minP, uniforms } = options;
  const { V } = checkTensors('sampleTokens', {
    logits: [logits, 'float32', ['B', 'V']],
    temperature: [temperature, 'float32', ['B']],
    topK: [topK, 'int32', ['B']],
    topP: [topP, 'float32', ['B']],
    minP: [minP, 'float32', ['B']],
    uniforms: [uniforms, 'float32', ['B']],
    ...(into === undefined ? {} : { into: [into, 'int32', ['B']] }),
  });
  if (into !== undefined) checkVariables('sampleTokens', { into });
  if (V === 0) throw new KernelsError('WRONG_SHAPE', 'sampleTokens: logits has no columns.', { value: 0 });
  checkRange('temperature', temperature, (value) => value >= 0 && value < Infinity, '≥ 0');
  checkRange('topK', topK, (value) => value >= 0, '≥ 0');
  checkRange('topP', topP, (value) => value > 0 && value <= 1, 'in (0, 1]');
  checkRange('minP', minP, (value) => value >= 0 && value <= 1, 'in [0, 1]');
  checkRange('uniforms', uniforms, (value) => value >= 0 && value < 1, 'in [0, 1)');
  const inputs = { logits, temperature, topK, topP, minP, uniforms };
  const named = ([ids, logProbabilities]: Tensor[]): SampledTokens => ({
    ids: ids as Tensor1D,
    logProbabilities: logProbabilities as Tensor1D,
  });
  if (into !== undefined && hasKernel(XgSampleTokensInto)) {
    return named(runKernel(XgSampleTokensInto, { ...inputs, into }));
  }
  const sampled = hasKernel(XgSampleTokens) ? named(runKernel(XgSampleTokens, inputs)) : sampleOnHost(logits, options);
  into?.assign(sampled.ids);
  return sampled;
}

function checkRange(name: string, tensor: Tensor, valid: (value: number) => boolean, range: string): void {
  if (!isHostBackend()) return;
  const values = readValues(tensor);
  for (let row = 0; row < values.length; row++) {
    if (!valid(values[row])) {
      throw new KernelsError('OUT_OF_RANGE', `sampleTokens: ${name}[${row}] must be ${range}, but is ${values[row]}.`, {
        value: values[row],
      });
    }
  }
}

function sampleOnHost(logits: Tensor, options: SamplingTensors): SampledTokens {
  const [rows, vocabularySize] = logits.shape as [number, number];
  const values = readValues(logits);
  const temperatures = readValues(options.temperature);
  const topKs = readValues(options.topK);
  const topPs = readValues(options.topP);
  const minPs = readValues(options.minP);
  const uniforms = readValues(options.uniforms);
  const ids = new Int32Array(rows);
  const logProbabilities = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const rowLogits = values.subarray(row * vocabularySize, (row + 1) * vocabularySize);
    const largest = largestIndex(rowLogits);
    const temperature = temperatures[row];
    const id =
      temperature === 0
        ? largest
        : draw(rowLogits, rowLogits[largest], temperature, topKs[row], topPs[row], minPs[row], uniforms[row]);
    let total = 0;
    for (const logit of rowLogits) total += Math.exp(logit - rowLogits[largest]);
    ids[row] = id;
    logProbabilities[row] = rowLogits[id] - rowLogits[largest] - Math.log(total);
  }
  return { ids: tensor1d(ids, 'int32'), logProbabilities: tensor1d(logProbabilities, 'float32') };
}

/** The lowest index of the largest value; throws where no value is a number. */
function largestIndex(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) {
      throw new KernelsError('OUT_OF_RANGE', `sampleTokens: a logit of token ${i} is NaN.`, { value: NaN });
    }
    if (values[i] > values[best]) best = i;
  }
  return best;
}

function draw(
  logits: ArrayLike<number>,
  largestLogit: number,
  temperature: number,
  topK: number,
  topP: number,
  minP: number,
  uniform: number,
): number {
  // Weights relative to the largest: p = weight / total, and minP compares weights directly.
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - largestLogit) / temperature));
  const stays = new Uint8Array(weights.length).fill(1);
  if ((topK > 0 && topK < weights.length) || topP < 1) {
    const ranked = Array.from(weights.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
    const kept = topK > 0 ? ranked.slice(0, topK) : ranked;
    stays.fill(0);
    const total = kept.reduce((sum, id) => sum + weights[id], 0);
    let before = 0;
    for (const id of kept) {
      if (before > 0 && before >= topP * total) break;
      stays[id] = 1;
      before += weights[id];
    }
  }
  let total = 0;
  for (let id = 0; id < weights.length; id++) {
    if (weights[id] < minP) stays[id] = 0;
    if (stays[id] === 1) total += weights[id];
  }
  const threshold = uniform * total;
  let sum = 0;
  let last = 0;
  for (let id = 0; id < weights.length; id++) {
    if (stays[id] === 0 || weights[id] === 0) continue;
    sum += weights[id];
    last = id;
    if (sum > threshold) return id;
  }
  return last;
}
