/**
 * The inputs of decoding iterations of one size: B rows and block tables of one width, of which the sequences fill the first. Only what has changed
 * since the last iteration gets a new tensor, so that only that is copied to the device: five numbers a row as a rule, its table where it got
 * another block.
 */
import * as tf from '@tensorflow/tfjs-core';
import { unusedRow } from '@xgen-small/kernels';
import type { DecodeInputs } from './decode-step.js';
import { slotOf } from './paged-cache.js';
import { uniformOf } from './sample.js';
import type { Sequence } from './sequence.js';

const integers = [
  'ids',
  'positions',
  'slots',
  'contextLengths',
  'topK',
  'cumulativeQueryLengths',
  'blockTables',
] as const;
const numbers = ['uniforms', 'temperature', 'topP', 'minP'] as const;
const names = [...integers, ...numbers];
type Name = (typeof names)[number];

/** The inputs in the order of `DecodeBatch.tensors`. */
export function namedInputs(tensors: readonly tf.Tensor[]): DecodeInputs {
  return Object.fromEntries(names.map((name, i) => [name, tensors[i]])) as unknown as DecodeInputs;
}

/** The blocks that a row's table shows: a sequence's list of blocks only grows, until it gets another list. */
interface Shown {
  blocks: readonly number[];
  count: number;
}

export class DecodeBatch {
  private readonly values: Record<Name, Int32Array | Float32Array>;
  private readonly current = new Map<Name, tf.Tensor>();
  private readonly changed = new Set<Name>(names);
  private readonly shown: (Shown | undefined)[];

  constructor(
    private readonly rows: number,
    private readonly width: number,
    private readonly blockSize: number,
  ) {
    const empty = [
      ...integers.map((name) => [name, new Int32Array(name === 'blockTables' ? rows * width : rows)] as const),
      ...numbers.map((name) => [name, new Float32Array(rows)] as const),
    ];
    this.values = Object.fromEntries(empty) as Record<Name, Int32Array | Float32Array>;
    this.values.cumulativeQueryLengths = Int32Array.from({ length: rows + 1 }, (_, row) => row);
    this.shown = new Array<Shown | undefined>(rows);
  }

  /** The inputs for a token more of each sequence, which must fit rows and width. They stay the batch's. */
  tensors(sequences: readonly Sequence[]): tf.Tensor[] {
    for (let row = 0; row < this.rows; row++) {
      if (row < sequences.length) this.fill(row, sequences[row]);
      else this.leaveOut(row);
    }
    for (const name of this.changed) {
      this.current.get(name)?.dispose();
      this.current.set(name, tf.keep(this.tensor(name)));
    }
    this.changed.clear();
    return names.map((name) => this.current.get(name)!);
  }

  dispose(): void {
    for (const tensor of this.current.values()) tensor.dispose();
    this.current.clear();
  }

  private fill(row: number, sequence: Sequence): void {
    const { computed: position, blocks, sampling } = sequence;
    this.set('ids', row, sequence.tokens[position]);
    this.set('positions', row, position);
    this.set('slots', row, slotOf(sequence, position, this.blockSize));
    this.set('contextLengths', row, position + 1);
    this.set('temperature', row, sampling.temperature);
    this.set('topK', row, sampling.topK);
    this.set('topP', row, sampling.topP);
    this.set('minP', row, sampling.minP);
    this.set('uniforms', row, sampling.temperature === 0 ? 0 : uniformOf(sequence));
    const shown = this.shown[row];
    if (shown?.blocks === blocks && shown.count === blocks.length) return;
    this.shown[row] = { blocks, count: blocks.length };
    blocks.forEach((block, i) => this.set('blockTables', row * this.width + i, block));
  }

  private leaveOut(row: number): void {
    this.set('ids', row, 0);
    this.set('positions', row, 0);
    this.set('slots', row, unusedRow);
    this.set('contextLengths', row, unusedRow);
    this.set('temperature', row, 0);
    this.set('topK', row, 0);
    this.set('topP', row, 1);
    this.set('minP', row, 0);
    this.set('uniforms', row, 0);
  }

  private set(name: Name, at: number, value: number): void {
    const values = this.values[name];
    const before = values[at];
    values[at] = value;
    if (values[at] !== before) this.changed.add(name);
  }

  private tensor(name: Name): tf.Tensor {
    const values = this.values[name].slice();
    const dtype = values instanceof Int32Array ? 'int32' : 'float32';
    return tf.tensor(values, name === 'blockTables' ? [this.rows, this.width] : [values.length], dtype);
  }
}
