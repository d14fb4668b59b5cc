/** A whole decoding step in one launch: of few sequences, with activations, weights and caches in bfloat16, on Hopper and later. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import * as names from '../../kernel-names';
import { checkCounts, checkInfos } from '../../native/check-infos';
import type { Handle } from '../addon';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { bfloat16, float32, int32, isFloating } from '../physical-type';

const decoderStep = defineKernel<names.XgDecoderStepInputs, names.XgDecoderStepAttrs>(
  names.XgDecoderStep,
  (inputs, attributes, backend) => {
    if (backend.activationType !== bfloat16) return [];
    const { queryHeads, keyValueHeads, headDimension, scale, blockSize, layers, epsilon, attentionScaling } =
      attributes;
    checkCounts({ queryHeads, keyValueHeads, headDimension, blockSize, layers });
    const [attended, cached] = [queryHeads * headDimension, keyValueHeads * headDimension];
    const { stream, table, ids, positions, slots, contextLengths, blockTables, inverseFrequencies, finalNorm, head } =
      inputs;
    const { N, D, M, V, R, F, T } = checkInfos(
      ...(stream === undefined
        ? ([
            ['table', table, 'float32', 'T', 'D'],
            ['ids', ids, 'int32', 'N'],
          ] as const)
        : ([['stream', stream, 'float32', 'N', 'D']] as const)),
      ['positions', positions, 'int32', 'N'],
      ['slots', slots, 'int32', 'N'],
      ['contextLengths', contextLengths, 'int32', 'N'],
      ['blockTables', blockTables, 'int32', 'N', 'M'],
      ['inverseFrequencies', inverseFrequencies, 'float32', headDimension / 2],
      ['finalNorm', finalNorm, 'float32', 'D'],
      ['head', head, 'float32', 'V', 'D'],
      ['keyCache0', inputs.keyCache0, 'float32', 'R', cached],
      ['down0', inputs.down0, 'float32', 'D', 'F'],
    );
    const sizes = [
      ...[queryHeads, keyValueHeads, headDimension, scale, attentionScaling, epsilon, N, D, F, V, layers, R, M],
      blockSize,
    ] as Parameters<typeof backend.addon.decoderStepTakes>;
    if (!backend.addon.decoderStepTakes(...sizes)) return [];

    const stored = backend.typeOf(finalNorm);
    const normType = isFloating(stored) ? stored : float32;
    const handles = new Int32Array(layers * names.decoderStepLayerInputs.length);
    let next = 0;
    for (let layer = 0; layer < layers; layer++) {
      const of = (name: (typeof names.decoderStepLayerInputs)[number]) => inputs[`${name}${layer}`];
      checkInfos(
        [`attentionNorm${layer}`, of('attentionNorm'), 'float32', D],
        [`qkv${layer}`, of('qkv'), 'float32', attended + 2 * cached, D],
        [`output${layer}`, of('output'), 'float32', D, attended],
        [`feedForwardNorm${layer}`, of('feedForwardNorm'), 'float32', D],
        [`gateUp${layer}`, of('gateUp'), 'float32', 2 * F, D],
        [`down${layer}`, of('down'), 'float32', D, F],
        [`keyCache${layer}`, of('keyCache'), 'float32', R, cached],
        [`valueCache${layer}`, of('valueCache'), 'float32', R, cached],
      );
      for (const name of names.decoderStepLayerInputs) {
        const info = of(name);
        if (name === 'keyCache' || name === 'valueCache') {
          // As with pagedCacheAppend.
          backend.store(info, bfloat16);
          handles[next++] = backend.writable(info);
        } else if (name === 'attentionNorm' || name === 'feedForwardNorm') {
          handles[next++] = backend.arrayAs(info, normType);
        } else {
          handles[next++] = backend.weight(info);
        }
      }
    }
    const logits = backend.create([N, V], attributes.float32Output ? float32 : bfloat16);
    const counter = (info: TensorInfo): Handle =>
      attributes.advance ? backend.writable(info) : backend.arrayAs(info, int32);
    backend.addon.decoderStep(
      ...sizes,
      handles,
      stream === undefined ? 0 : backend.arrayAs(stream, bfloat16),
      backend.array(finalNorm),
      backend.weight(head),
      counter(positions),
      counter(slots),
      backend.arrayAs(inverseFrequencies, float32),
      counter(contextLengths),
      backend.arrayAs(blockTables, int32),
      logits.handle,
      stream === undefined ? backend.array(table) : 0,
      T ?? 0,
      stream === undefined ? backend.arrayAs(ids, int32) : 0,
      attributes.advance,
    );
    return [logits.info];
  },
);

export const decoderStepKernels: readonly CudaKernel[] = [decoderStep];
