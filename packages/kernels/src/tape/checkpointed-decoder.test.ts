/**
 * A decoder block of fused operations, checkpointed in the ways that models offer: gradients to the bit, bytes to the byte, and which kernels
 * run again; on `native`, and on the emulated CUDA device in bfloat16, also captured. Cost: seconds.
 */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { initializeBackend } from '../backends/initialize-backend';
import { toTensor, normal } from '../conformance/host-tensor';
import { capture } from '../cuda/capture';
import { missing, useEmulatedDevice } from '../cuda/test-support';
import { addRmsNorm } from '../ops/add-rms-norm';
import { groupedQueryAttention } from '../ops/grouped-query-attention';
import { linear } from '../ops/linear';
import { rmsNorm } from '../ops/rms-norm';
import { rope } from '../ops/rope';
import { swiglu } from '../ops/swiglu';
import { checkpointed, kept } from './checkpointed';
import { heldBytes, kernelsOf, normalVariable } from './test-support';
import { valueAndGradients } from './value-and-gradients';

const [tokens, width, queryHeads, keyValueHeads, headDimension, feedForward, layers] = [128, 32, 4, 2, 8, 40, 3];
const qkvWidth = (queryHeads + 2 * keyValueHeads) * headDimension;
const attention = { queryHeads, keyValueHeads, headDimension };
const rotation = { rotatedHeads: queryHeads + keyValueHeads, headDimension };
const epsilon = 1e-5;

type Named = 'sum' | 'qkv' | 'attended' | 'middle' | 'gateUp';
const modes: Record<string, Named[]> = {
  elementwise: ['sum', 'qkv', 'attended', 'middle', 'gateUp'],
  feedForward: ['sum', 'qkv', 'attended', 'middle'],
  allButAttention: ['sum', 'attended'],
  block: ['sum'],
};
/** Elements a token that a block holds, apart from inverse root mean squares and log-sum-exps. */
const elements: Record<string, number> = {
  none: 4 * width + qkvWidth + queryHeads * headDimension + 3 * feedForward,
  elementwise: 2 * width + qkvWidth + queryHeads * headDimension + 2 * feedForward,
  feedForward: 2 * width + qkvWidth + queryHeads * headDimension,
  allButAttention: width + queryHeads * headDimension,
  block: width,
};
/** float32 numbers a token: an inverse root mean square of each norm whose sum is held, a log-sum-exp a head. */
const numbers: Record<string, number> = {
  none: 2 + queryHeads,
  elementwise: 2 + queryHeads,
  feedForward: 2 + queryHeads,
  allButAttention: 1 + queryHeads,
  block: 1,
};
const kernelsAgain: Record<string, string[]> = {
  elementwise: ['XgRmsNorm', 'XgRmsNorm', 'XgSwiglu'],
  feedForward: ['XgLinear', 'XgRmsNorm', 'XgRmsNorm', 'XgSwiglu'],
  allButAttention: ['XgAddRmsNorm', 'XgLinear', 'XgLinear', 'XgLinear', 'XgRmsNorm', 'XgRope', 'XgSwiglu'],
  block: ['XgAddRmsNorm', 'XgAttention', 'XgLinear', 'XgLinear', 'XgLinear', 'XgRmsNorm', 'XgRope', 'XgSwiglu'],
};

function makeDecoder() {
  const weights = Array.from({ length: layers }, (_, layer) => ({
    attentionNorm: normalVariable([width], 10 * layer + 1),
    qkv: normalVariable([qkvWidth, width], 10 * layer + 2, 0.2),
    output: normalVariable([width, queryHeads * headDimension], 10 * layer + 3, 0.2),
    feedForwardNorm: normalVariable([width], 10 * layer + 4),
    gateUp: normalVariable([2 * feedForward, width], 10 * layer + 5, 0.2),
    down: normalVariable([width, feedForward], 10 * layer + 6, 0.2),
  }));
  const inputs = [normal([tokens, width], 99), normal([tokens, width], 98)].map((host) => toTensor(host));
  const positions = tf.tensor1d(Int32Array.from({ length: tokens }, (_, i) => i % 20));
  const frequencies = tf.tensor1d([1, 0.3, 0.1, 0.03]);
  const lengths = tf.tensor1d([0, 20, 40, tokens], 'int32');
  const variables = weights.flatMap((block) => Object.values(block));

  /** [residual, delta] → the same of the next block. */
  const block = (weight: (typeof weights)[number], [residual, delta]: tf.Tensor[], names: readonly Named[]) => {
    const mark = <T extends tf.Tensor>(name: Named, tensor: T): T => (names.includes(name) ? kept(tensor) : tensor);
    const first = addRmsNorm(delta, residual, weight.attentionNorm, { epsilon });
    mark('sum', first.sum);
    const qkv = mark('qkv', rope(linear(first.normalized, weight.qkv), positions, frequencies, rotation));
    const attended = mark('attended', groupedQueryAttention(qkv, lengths, attention));
    const second = addRmsNorm(linear(attended, weight.output), first.sum, weight.feedForwardNorm, { epsilon });
    mark('middle', second.sum);
    const gateUp = mark('gateUp', linear(second.normalized, weight.gateUp));
    return [second.sum, linear(swiglu(gateUp), weight.down)];
  };
  /** Runs the first `blocks` blocks. */
  const loss = (names: readonly Named[] | undefined, blocks = layers, afterwards?: () => void): tf.Scalar => {
    // Through an operation, so that they are stored as activations are.
    let stream = inputs.map((input) => rmsNorm(input, weights[0].attentionNorm, { epsilon }) as tf.Tensor);
    for (const weight of weights.slice(0, blocks)) {
      const given = stream;
      const run = (): tf.Tensor[] => block(weight, given, names ?? []);
      stream = names === undefined ? tf.tidy(run) : checkpointed(run);
      tf.dispose(given);
    }
    afterwards?.();
    return tf.sum(tf.mul(stream[0], stream[1]));
  };
  return { loss, variables };
}

type Decoder = ReturnType<typeof makeDecoder>;

function gradientsOf({ loss, variables }: Decoder, names: readonly Named[] | undefined): number[][] {
  return tf.tidy(() => {
    const { gradients } = valueAndGradients(() => loss(names), variables);
    return variables.map(({ name }) => Array.from(gradients.get(name)!.dataSync()));
  });
}

/** Of a block more: the bytes that it holds between the passes, and the kernels that it runs in the backward pass. */
function costOfBlock({ loss, variables }: Decoder, names: readonly Named[] | undefined, held: () => number) {
  const run = (blocks: number): { bytes: number; kernels: string[] } =>
    tf.tidy(() => {
      let bytes = -held();
      const kernels = kernelsOf((list) => {
        valueAndGradients(
          () =>
            loss(names, blocks, () => {
              bytes += held();
              list.length = 0;
            }),
          variables,
        );
      });
      return { bytes, kernels };
    });
  const [fewer, more] = [run(layers - 1), run(layers)];
  return { bytes: more.bytes - fewer.bytes, kernels: without(more.kernels, fewer.kernels) };
}

/** The names left when those of `others` are crossed out one by one. */
function without(names: readonly string[], others: readonly string[]): string[] {
  const rest = [...names];
  for (const name of others) if (rest.includes(name)) rest.splice(rest.indexOf(name), 1);
  return rest.sort();
}

const skipped = missing === undefined ? '' : ` (${missing})`;
const places: [string, boolean, () => Promise<{ held: () => number; elementBytes: number }>][] = [
  [
    'native',
    false,
    async () => {
      await initializeBackend({ preferred: 'native' });
      return { held: heldBytes, elementBytes: 4 };
    },
  ],
  [
    `the emulated device in bfloat16${skipped}`,
    missing !== undefined,
    async () => {
      const backend = await useEmulatedDevice();
      backend.matmulPrecision = 'bfloat16';
      return { held: () => backend.addon.statistics().liveBytes, elementBytes: 2 };
    },
  ],
];

for (const [place, skip, start] of places) {
  describe.skipIf(skip)(`checkpointed blocks on ${place}`, () => {
    let decoder: Decoder;
    let held: () => number;
    let elementBytes: number;
    let expected: number[][];
    beforeAll(async () => {
      ({ held, elementBytes } = await start());
      decoder = makeDecoder();
      expected = gradientsOf(decoder, undefined);
    });

    test('hold everything when they are not checkpointed', () => {
      const { bytes } = costOfBlock(decoder, undefined, held);
      expect(bytes).toBe(tokens * (elements.none * elementBytes + numbers.none * 4));
    });

    test.each(Object.keys(modes))('%s: the bits, the bytes and the kernels', (mode) => {
      const before = tf.memory().numTensors;
      expect(gradientsOf(decoder, modes[mode])).toEqual(expected);
      const { bytes, kernels } = costOfBlock(decoder, modes[mode], held);
      expect(bytes).toBe(tokens * (elements[mode] * elementBytes + numbers[mode] * 4));
      expect(without(kernels, costOfBlock(decoder, undefined, held).kernels)).toEqual(kernelsAgain[mode]);
      expect(tf.memory().numTensors).toBe(before);
    });

    test('are captured', () => {
      const { loss, variables } = decoder;
      for (const mode of ['feedForward', 'block']) {
        const captured = capture(() => {
          const { gradients } = valueAndGradients(() => loss(modes[mode]), variables);
          return variables.map(({ name }) => gradients.get(name)!);
        }, []);
        for (let i = 0; i < 2; i++) {
          expect(captured.run().map((gradient) => Array.from(gradient.dataSync()))).toEqual(expected);
        }
        captured.dispose();
      }
    });
  });
}
