/**
 * Decoding iterations as recorded graphs, where the backend can record: one launch an iteration instead of a hundred.
 *
 * A graph has fixed sizes. So there is one for each class of batches (rows and the block tables' width, rounded up), recorded when its class is met
 * for the second time, and recorded anew where the weights or caches lie elsewhere since. Memory: a graph keeps its intermediates, of which the logits
 * are most; the least recently used goes when there are too many.
 */
import * as tf from '@tensorflow/tfjs-core';
import { canRecord, capture, type CapturedFunction } from '@xgen-small/kernels';
import type { CausalLanguageModel } from '../model/causal-language-model.js';
import { ropeFrequencies } from '../rope/rope-frequencies.js';
import { DecodeBatch, namedInputs } from './decode-batch.js';
import { decodeStep, type DecodeParameters } from './decode-step.js';
import type { PagedCache } from './paged-cache.js';
import type { SampledRows } from './sample.js';
import type { Sequence } from './sequence.js';

/** Rows: powers of two up to here, then multiples of it: a product's tile has that many. */
const rowStep = 64;
/** Blocks of the narrowest tables. */
const leastWidth = 8;

export interface CapturedDecodingLimits {
  /** Blocks of the longest sequence. */
  maximumWidth: number;
  /** Logits held at once; larger batches are not captured. */
  maximumLogits: number;
  maximumGraphs: number;
}

interface Graph {
  batch: DecodeBatch;
  captured: CapturedFunction;
  /** The data of the parameters that it was recorded with. */
  weights: readonly object[];
}

const warned = new Set<string>();

function warn(error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  if (warned.has(reason)) return;
  warned.add(reason);
  process.emitWarning(
    `Decoding goes on without a recorded graph, more slowly: recording it failed (${reason}). Said once.`,
    { type: 'ModelWarning', code: 'XGEN_DECODING_NOT_CAPTURED' },
  );
}

/** The next power of two from `count` on. */
const powerOfTwo = (count: number): number => 2 ** (32 - Math.clz32(count - 1));

export class CapturedDecoding {
  /** By class, the least recently used first. */
  private readonly graphs = new Map<string, Graph>();
  private readonly met = new Set<string>();
  private frequencies: Pick<DecodeParameters, 'inverseFrequencies' | 'attentionScaling'> | undefined;
  private failed = false;

  constructor(
    private readonly model: CausalLanguageModel,
    private readonly cache: PagedCache,
    private readonly limits: CapturedDecodingLimits,
  ) {}

  /**
   * A token for each sequence, in the first rows; undefined where nothing is recorded for such batches, and nothing has happened then. The tensors
   * stay the graph's and hold until the next call.
   */
  run(sequences: readonly Sequence[]): SampledRows | undefined {
    if (this.failed || !canRecord()) return undefined;
    const { maximumLogits, maximumWidth } = this.limits;
    const count = sequences.length;
    const rows = count <= rowStep ? powerOfTwo(count) : Math.ceil(count / rowStep) * rowStep;
    if (rows * this.model.config.vocabularySize > maximumLogits) return undefined;
    const widest = sequences.reduce((most, { blocks }) => Math.max(most, blocks.length), leastWidth);
    const width = Math.min(powerOfTwo(widest), maximumWidth);
    const key = `${rows}x${width}`;
    let graph = this.graphs.get(key);
    if (graph !== undefined && !this.isCurrent(graph)) {
      this.dropStale();
      graph = undefined;
    } else if (graph === undefined && !this.met.has(key)) {
      this.met.add(key);
      return undefined;
    }
    graph ??= this.record(new DecodeBatch(rows, width, this.cache.blockSize), sequences);
    if (graph === undefined) return undefined;
    this.graphs.delete(key);
    this.graphs.set(key, graph);
    const [ids, logProbabilities, logits] = graph.captured.run(...graph.batch.tensors(sequences));
    return {
      ids: ids as tf.Tensor1D,
      logProbabilities: logProbabilities as tf.Tensor1D,
      logits: logits as tf.Tensor2D,
    };
  }

  dispose(): void {
    for (const key of [...this.graphs.keys()]) this.drop(key);
    this.frequencies?.inverseFrequencies.dispose();
    this.frequencies = undefined;
  }

  /** Undefined where that failed; then it is not tried again. */
  private record(batch: DecodeBatch, sequences: readonly Sequence[]): Graph | undefined {
    const { model, cache } = this;
    try {
      if (this.graphs.size >= this.limits.maximumGraphs) this.drop(this.graphs.keys().next().value!);
      const parameters = { model, cache, ...this.rope() };
      const step = (...tensors: tf.Tensor[]): tf.Tensor[] => {
        const { ids, logProbabilities, logits } = decodeStep(parameters, namedInputs(tensors));
        return [ids, logProbabilities, logits];
      };
      const captured = capture(step, batch.tensors(sequences));
      return { batch, captured, weights: this.weights() };
    } catch (error) {
      this.failed = true;
      batch.dispose();
      this.dispose();
      warn(error);
      return undefined;
    }
  }

  private rope(): NonNullable<typeof this.frequencies> {
    if (this.frequencies === undefined) {
      const { rope, headDimension, maximumPositions } = this.model.config;
      const { inverseFrequencies, attentionScaling } = ropeFrequencies(
        rope,
        headDimension,
        maximumPositions,
        maximumPositions,
      );
      this.frequencies = { inverseFrequencies: tf.keep(tf.tensor1d(inverseFrequencies)), attentionScaling };
    }
    return this.frequencies;
  }

  private weights(): object[] {
    return [...this.model.parameters.values()].map(({ dataId }) => dataId);
  }

  /** A variable that was assigned another tensor has other data, while the old may live on. */
  private isCurrent({ captured, weights }: Graph): boolean {
    if (!captured.current) return false;
    let at = 0;
    for (const { dataId } of this.model.parameters.values()) if (dataId !== weights[at++]) return false;
    return true;
  }

  private dropStale(): void {
    for (const [key, graph] of [...this.graphs]) if (!this.isCurrent(graph)) this.drop(key);
  }

  private drop(key: string): void {
    const { batch, captured } = this.graphs.get(key)!;
    this.graphs.delete(key);
    captured.dispose();
    batch.dispose();
  }
}
