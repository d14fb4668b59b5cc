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
import { feedForward } from '../ops/feed-forward';
import { groupedQueryAttention } from '../ops/grouped-query-attention';
import { linear } from '../ops/linear';
import { residualRmsNorm } from '../ops/residual-rms-norm';
import { rmsNorm } from '../ops/rms-norm';
import { rope } from '../ops/rope';
import { swiglu } from '../ops/swiglu';
import { checkpointed, kept } from './checkpointed';
import { heldBytes, kernelsOf, normalVariable } from './test-support';
import { valueAndGradients } from './value-and-gradients';

const [tokens, width, queryHeads, keyValueHeads, headDimension, inner, layers] = [128, 32, 4, 2, 8, 40, 3];
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
  none: 4 * width + qkvWidth + queryHeads * headDimension + 3 * inner,
  elementwise: 2 * width + qkvWidth + queryHeads * headDimension + 2 * inner,
  feedForward: 2 * width + qkvWidth + queryHeads * headDimension,
  allButAttention: width + queryHeads * headDimension,
  block: width,
};
/**
 * How a block adds to its stream: in the norms after its products, as addRmsNorm does, whose first then sees what the block before made; or inside
 * the products themselves, as the models of model-core are built.
 */
type Style = 'in the norms' | 'in the products';
const styles: readonly Style[] = ['in the norms', 'in the products'];

/**
 * float32 numbers a token: a log-sum-exp a head where attention is held, and an inverse root mean square of each norm that is held, or that makes
 * a sum that is.
 */
const numbers: Record<Style, Record<string, number>> = {
  'in the norms': {
    none: 2 + queryHeads,
    elementwise: 2 + queryHeads,
    feedForward: 2 + queryHeads,
    allButAttention: 1 + queryHeads,
    block: 1,
  },
  'in the products': {
    none: 2 + queryHeads,
    elementwise: queryHeads,
    feedForward: queryHeads,
    allButAttention: queryHeads,
    block: 0,
  },
};
/** `gate`: the product of gate and up, and their activation. */
const kernelsAgain = (style: Style, gate: readonly string[]): Record<string, string[]> => {
  if (style === 'in the norms') {
    return {
      elementwise: ['XgRmsNorm', 'XgRmsNorm', 'XgSwiglu'],
      feedForward: ['XgLinear', 'XgRmsNorm', 'XgRmsNorm', 'XgSwiglu'],
      allButAttention: ['XgAddRmsNorm', 'XgLinear', 'XgLinear', 'XgLinear', 'XgRmsNorm', 'XgRope', 'XgSwiglu'],
      block: ['XgAddRmsNorm', 'XgAttention', 'XgLinear', 'XgLinear', 'XgLinear', 'XgRmsNorm', 'XgRope', 'XgSwiglu'],
    };
  }
  const norms = ['XgResidualRmsNorm', 'XgResidualRmsNorm'];
  return {
    elementwise: [...norms, 'XgSwiglu'],
    feedForward: [...norms, ...gate],
    allButAttention: [...norms, ...gate, 'XgLinear', 'XgLinearAdd', 'XgRope'],
    block: [...norms, ...gate, 'XgAttention', 'XgLinear', 'XgLinearAdd', 'XgRope'],
  };
};

function makeDecoder(style: Style) {
  const weights = Array.from({ length: layers }, (_, layer) => ({
    attentionNorm: normalVariable([width], 10 * layer + 1),
    qkv: normalVariable([qkvWidth, width], 10 * layer + 2, 0.2),
    output: normalVariable([width, queryHeads * headDimension], 10 * layer + 3, 0.2),
    feedForwardNorm: normalVariable([width], 10 * layer + 4),
    gateUp: normalVariable([2 * inner, width], 10 * layer + 5, 0.2),
    down: normalVariable([width, inner], 10 * layer + 6, 0.2),
  }));
  const inputs = [99, 98]
    .slice(0, style === 'in the norms' ? 2 : 1)
    .map((seed) => toTensor(normal([tokens, width], seed)));
  const positions = tf.tensor1d(Int32Array.from({ length: tokens }, (_, i) => i % 20));
  const frequencies = tf.tensor1d([1, 0.3, 0.1, 0.03]);
  const lengths = tf.tensor1d([0, 20, 40, tokens], 'int32');
  const variables = weights.flatMap((block) => Object.values(block));

  type Weights = (typeof weights)[number];
  const marker =
    (names: readonly Named[]) =>
    <T extends tf.Tensor>(name: Named, tensor: T): T =>
      names.includes(name) ? kept(tensor) : tensor;

  /** [residual, delta] → the same of the next block. */
  const normsAdd = (weight: Weights, [residual, delta]: tf.Tensor[], names: readonly Named[]): tf.Tensor[] => {
    const mark = marker(names);
    const first = addRmsNorm(delta, residual, weight.attentionNorm, { epsilon });
    mark('sum', first.sum);
    const qkv = mark('qkv', rope(linear(first.normalized, weight.qkv), positions, frequencies, rotation));
    const attended = mark('attended', groupedQueryAttention(qkv, lengths, attention));
    const second = addRmsNorm(linear(attended, weight.output), first.sum, weight.feedForwardNorm, { epsilon });
    mark('middle', second.sum);
    const gateUp = mark('gateUp', linear(second.normalized, weight.gateUp));
    return [second.sum, linear(swiglu(gateUp), weight.down)];
  };
  /** [stream] → the same of the next block. */
  const productsAdd = (weight: Weights, [stream]: tf.Tensor[], names: readonly Named[]): tf.Tensor[] => {
    const mark = marker(names);
    const first = residualRmsNorm(stream, weight.attentionNorm, { epsilon });
    const qkv = mark('qkv', rope(linear(first.normalized, weight.qkv), positions, frequencies, rotation));
    const attended = mark('attended', groupedQueryAttention(qkv, lengths, attention));
    const middle = mark('middle', linear(attended, weight.output, { residual: first.residual }));
    const { normalized, residual } = residualRmsNorm(middle, weight.feedForwardNorm, { epsilon });
    return [feedForward(normalized, weight.gateUp, weight.down, { residual, keepGateUp: names.includes('gateUp') })];
  };
  const block = style === 'in the norms' ? normsAdd : productsAdd;
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
    return tf.sum(tf.mul(stream[0], stream.at(-1)!));
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

interface Started {
  held: () => number;
  elementBytes: number;
  /** The product of gate and up, and their activation. */
  gate: string[];
}

const skipped = missing === undefined ? '' : ` (${missing})`;
const places: [string, boolean, () => Promise<Started>][] = [
  [
    'native',
    false,
    async () => {
      await initializeBackend({ preferred: 'native' });
      return { held: heldBytes, elementBytes: 4, gate: ['XgLinear', 'XgSwiglu'] };
    },
  ],
  [
    `the emulated device in bfloat16${skipped}`,
    missing !== undefined,
    async () => {
      const backend = await useEmulatedDevice();
      backend.matmulPrecision = 'bfloat16';
      return { held: () => backend.addon.statistics().liveBytes, elementBytes: 2, gate: ['XgGatedLinear'] };
    },
  ],
];

for (const [place, skip, start] of places) {
  describe.skipIf(skip).each(styles)(`checkpointed blocks that add %s, on ${place}`, (style) => {
    let decoder: Decoder;
    let held: Started['held'];
    let elementBytes: number;
    let gate: string[];
    let expected: number[][];
    beforeAll(async () => {
      ({ held, elementBytes, gate } = await start());
      decoder = makeDecoder(style);
      expected = gradientsOf(decoder, undefined);
    });

    test('hold everything when they are not checkpointed', () => {
      const { bytes } = costOfBlock(decoder, undefined, held);
      expect(bytes).toBe(tokens * (elements.none * elementBytes + numbers[style].none * 4));
    });

    test.each(Object.keys(modes))('%s: the bits, the bytes and the kernels', (mode) => {
      const before = tf.memory().numTensors;
      expect(gradientsOf(decoder, modes[mode])).toEqual(expected);
      const { bytes, kernels } = costOfBlock(decoder, modes[mode], held);
      expect(bytes).toBe(tokens * (elements[mode] * elementBytes + numbers[style][mode] * 4));
      expect(without(kernels, costOfBlock(decoder, undefined, held).kernels)).toEqual(
        kernelsAgain(style, gate)[mode].sort(),
      );
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
