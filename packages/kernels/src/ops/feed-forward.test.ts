/**
 * The gated feed-forward layer beyond what its conformance cases show: without a residual, and computed again in checkpointed blocks, where
 * what is kept decides which kernel runs. On `native`, and on the emulated CUDA device in float32 and bfloat16.
 */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { initializeBackend } from '../backends/initialize-backend';
import { normal, toTensor } from '../conformance/host-tensor';
import { missing, useEmulatedDevice } from '../cuda/test-support';
import { loadAddon } from '../native/load-addon';
import { checkpointed } from '../tape/checkpointed';
import { heldBytes, kernelsOf, normalVariable } from '../tape/test-support';
import { valueAndGradients } from '../tape/value-and-gradients';
import { feedForward } from './feed-forward';
import { linear } from './linear';
import { rmsNorm } from './rms-norm';

const [tokens, width, inner] = [128, 32, 40];

interface Place {
  held: () => number;
  elementBytes: number;
  /** Computed again without and with gate and up kept, norm aside. */
  again: { bare: string[]; kept: string[] };
}
type Start = () => Promise<Place>;

function emulated(precision: 'float32' | 'bfloat16'): Start {
  return async () => {
    const backend = await useEmulatedDevice();
    backend.matmulPrecision = precision;
    return {
      held: () => backend.addon.statistics().liveBytes,
      elementBytes: precision === 'bfloat16' ? 2 : 4,
      again: { bare: ['XgGatedLinear'], kept: ['XgSwiglu'] },
    };
  };
}

const native: Start = async () => {
  await initializeBackend({ preferred: 'native' });
  return { held: heldBytes, elementBytes: 4, again: { bare: ['XgLinear', 'XgSwiglu'], kept: ['XgSwiglu'] } };
};

const cpu: Start = async () => {
  await initializeBackend({ preferred: 'cpu' });
  return { held: heldBytes, elementBytes: 4, again: { bare: [], kept: [] } };
};

const noAddon = loadAddon().addon === undefined ? 'there is no addon' : undefined;
const fused: [string, string | undefined, Start][] = [
  ['native', noAddon, native],
  ['the emulated device', missing, emulated('float32')],
  ['the emulated device in bfloat16', missing, emulated('bfloat16')],
];

function makeLayer() {
  const weights = {
    norm: normalVariable([width], 1),
    gateUp: normalVariable([2 * inner, width], 2, 0.2),
    down: normalVariable([width, inner], 3, 0.2),
    input: normalVariable([width, width], 4, 0.2),
  };
  const x = toTensor(normal([tokens, width], 5));
  const variables = Object.values(weights);
  /** A stream that is stored as activations are, and depends on a variable. */
  const makeStream = (): tf.Tensor2D => linear(x, weights.input);
  return { weights, variables, makeStream };
}

type Layer = ReturnType<typeof makeLayer>;
type Mode = 'stored' | 'bare' | 'kept';

/** Between the passes: `afterwards` is called. */
function blockLoss({ weights, makeStream }: Layer, mode: Mode, afterwards = (): void => undefined): tf.Scalar {
  const stream = makeStream();
  const block = (): tf.Tensor =>
    feedForward(rmsNorm(stream, weights.norm, { epsilon: 1e-5 }), weights.gateUp, weights.down, {
      residual: stream,
      keepGateUp: mode === 'kept',
    });
  const y = mode === 'stored' ? tf.tidy(block) : checkpointed(block);
  stream.dispose();
  afterwards();
  return tf.sum(tf.mul(y, y));
}

/** The loss and all gradients, the bytes held between the passes, and the kernels that run after the forward pass. */
function runBlock(layer: Layer, mode: Mode, held: () => number) {
  return tf.tidy(() => {
    let bytes = -held();
    let values: number[][] = [];
    const kernels = kernelsOf((list) => {
      const { value, gradients } = valueAndGradients(
        () =>
          blockLoss(layer, mode, () => {
            bytes += held();
            list.length = 0;
          }),
        layer.variables,
      );
      values = [value, ...layer.variables.map(({ name }) => gradients.get(name)!)].map((one) =>
        Array.from(one.dataSync()),
      );
    });
    return { values, bytes, kernels };
  });
}

/** The names left when those of `others` are crossed out one by one. */
function without(names: readonly string[], others: readonly string[]): string[] {
  const rest = [...names];
  for (const name of others) if (rest.includes(name)) rest.splice(rest.indexOf(name), 1);
  return rest.sort();
}

for (const [place, lack, start] of [['cpu', undefined, cpu] as (typeof fused)[number], ...fused]) {
  describe.skipIf(lack !== undefined)(`feedForward on ${place}${lack === undefined ? '' : ` (${lack})`}`, () => {
    test('without a residual gives the bits, and the gradients, of a residual of zeros', async () => {
      await start();
      const { weights, variables, makeStream } = makeLayer();
      const before = tf.memory().numTensors;
      const run = (residual: boolean): number[][] =>
        tf.tidy(() => {
          const { value, gradients } = valueAndGradients(() => {
            const zeros = residual ? tf.zeros([tokens, width]) : undefined;
            const y = feedForward(makeStream(), weights.gateUp, weights.down, { residual: zeros });
            return tf.sum(tf.mul(y, y));
          }, variables);
          return [value, ...variables.map(({ name }) => gradients.get(name)!)].map((one) => Array.from(one.dataSync()));
        });
      const inference = (residual?: tf.Tensor): number[] =>
        tf.tidy(() => Array.from(feedForward(makeStream(), weights.gateUp, weights.down, { residual }).dataSync()));
      expect(run(false)).toEqual(run(true));
      const zeros = tf.zeros([tokens, width]);
      expect(inference()).toEqual(inference(zeros));
      zeros.dispose();
      expect(tf.memory().numTensors).toBe(before);
      tf.dispose(variables);
    });
  });
}

for (const [place, lack, start] of fused) {
  describe.skipIf(lack !== undefined)(
    `feedForward in a checkpointed block on ${place}${lack === undefined ? '' : ` (${lack})`}`,
    () => {
      let place: Place;
      let layer: Layer;
      let stored: ReturnType<typeof runBlock>;
      beforeAll(async () => {
        place = await start();
        layer = makeLayer();
        runBlock(layer, 'stored', place.held); // weights have their copies, products their workspace
        stored = runBlock(layer, 'stored', place.held);
      });

      test.each(['bare', 'kept'] as const)('%s: the bits, the bytes and the kernels', (mode) => {
        const before = tf.memory().numTensors;
        const { values, bytes, kernels } = runBlock(layer, mode, place.held);
        expect(values).toEqual(stored.values);
        expect(without(kernels, stored.kernels)).toEqual(['XgRmsNorm', ...place.again[mode]].sort());
        expect(kernels).not.toContain('XgFeedForward');
        expect(without(stored.kernels, kernels)).toEqual([]);
        // Let go are the normalised stream, its inverse root mean squares, the activation, and gate and up unless they are kept.
        const elements = tokens * (width + inner * (mode === 'kept' ? 1 : 3));
        expect(stored.bytes - bytes).toBe(elements * place.elementBytes + tokens * 4);
        expect(tf.memory().numTensors).toBe(before);
      });
    },
  );
}
