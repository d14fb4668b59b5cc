/**
 * One update: micro-batches forward and backward, clipping, AdamW. The clip factor stays on the device; log-probabilities and
 * the norm are read back before the update, so that a loss that isn't finite never reaches the parameters.
 */
import * as tf from '@tensorflow/tfjs-core';
import { globalNormScale } from '@xgen-small/kernels';
import type { CausalLanguageModel, Recompute } from '@xgen-small/model-core';
import type { MicroBatch } from '../data/micro-batch';
import { accumulateGradients } from '../optimizer/accumulate-gradients';
import type { Optimizer, OptimizerState } from '../optimizer/optimizer';
import type { PretrainStageOptions } from './options';

export interface TrainStepOptions {
  model: CausalLanguageModel;
  optimizer: Optimizer;
  optimizerState: OptimizerState;
  microBatches: readonly MicroBatch[];
  domainCount: number;
  learningRate: number;
  maximumGradientNorm: number;
  recompute?: Recompute;
  reduceGradients?: PretrainStageOptions['reduceGradients'];
  between: () => Promise<void>;
  /** Called once when all passes are queued and nothing has been waited for: host work put here costs a GPU no time. */
  meanwhile?: () => void;
}

export interface TrainStepResult {
  /** As passed when `finite` is false: nothing was changed then. */
  optimizerState: OptimizerState;
  finite: boolean;
  /** [domains] */
  negativeLogLikelihood: Float64Array;
  /** [domains] */
  targets: Float64Array;
  gradientNorm: number;
}

export async function trainStep(options: TrainStepOptions): Promise<TrainStepResult> {
  const { model, optimizer, optimizerState, microBatches, learningRate, reduceGradients } = options;
  const targetCount = Math.max(
    1,
    microBatches.reduce((sum, batch) => sum + batch.targetCount, 0),
  );
  const logProbabilities: tf.Tensor1D[] = [];
  const owned: tf.Tensor[] = [];
  try {
    const { losses, gradients } = await accumulateGradients({
      parameters: model.parameters,
      microBatches: microBatches.length,
      loss: (index) => {
        const { batch, targets } = microBatches[index];
        const { recompute } = options;
        const logP = model.logProbabilities(batch, targets, { recompute, expectedGradient: -1 / targetCount });
        logProbabilities.push(tf.keep(logP));
        return tf.mul<tf.Scalar>(tf.sum(logP), -1 / targetCount);
      },
      between: options.between,
    });
    owned.push(...losses, ...gradients.values());
    const reduced = (await reduceGradients?.(gradients)) ?? gradients;
    if (reduced !== gradients) owned.push(...reduced.values());
    const { norm, scale } = globalNormScale([...reduced.values()], options.maximumGradientNorm);
    owned.push(norm, scale);
    const reading = Promise.all([sumByDomain(microBatches, logProbabilities, options.domainCount), norm.data()]);
    options.meanwhile?.();
    const [sums, [gradientNorm]] = await reading;
    const finite = Number.isFinite(gradientNorm) && sums.negativeLogLikelihood.every(Number.isFinite);
    return {
      ...sums,
      gradientNorm,
      finite,
      optimizerState: finite
        ? optimizer.update(optimizerState, model.parameters, reduced, { learningRate, gradientScale: scale })
        : optimizerState,
    };
  } finally {
    for (const tensor of [...logProbabilities, ...owned]) if (!tensor.isDisposed) tensor.dispose();
  }
}

async function sumByDomain(
  microBatches: readonly MicroBatch[],
  logProbabilities: readonly tf.Tensor1D[],
  domainCount: number,
): Promise<Pick<TrainStepResult, 'negativeLogLikelihood' | 'targets'>> {
  const negativeLogLikelihood = new Float64Array(domainCount);
  const targets = new Float64Array(domainCount);
  for (const [index, { batch, targets: ids, pieceDomains }] of microBatches.entries()) {
    const values = await logProbabilities[index].data();
    pieceDomains.forEach((domain, piece) => {
      const end = batch.cumulativeLengths[piece + 1];
      for (let i = batch.cumulativeLengths[piece]; i < end; i++) {
        if (ids[i] < 0) continue;
        negativeLogLikelihood[domain] -= values[i];
        targets[domain]++;
      }
    });
  }
  return { negativeLogLikelihood, targets };
}
