/**
 * tfjs's CPU backend with pooled memory and the addon's kernels.
 *
 * Data are typed arrays of this process, as in the CPU backend, so each of its kernels works here too. Outputs of our kernels
 * come from a pool and are not cleared. One backend belongs to one JavaScript environment; the thread pool beneath is shared.
 */
import { type backend_util, type DataId, type DataType, type TensorInfo } from '@tensorflow/tfjs-core';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { KernelsError } from '../kernels-error';
import type { NativeAddon } from './addon';
import { BufferPool } from './buffer-pool';
import { NativeTensorData } from './tensor-data';

/** What operands of matrix products are rounded to; `tensorfloat32` (10 bits of mantissa) exists on GPUs only. */
export type MatmulPrecision = 'float32' | 'tensorfloat32' | 'bfloat16';

const packAtProduct = 3;
const packedLimit = 512 * 1024 * 1024;
const poisonInteger = -0x7ffffffe;

export class NativeBackend extends MathBackendCPU {
  /** Inputs of matrix products are rounded to this; sums are float32. */
  matmulPrecision: 'float32' | 'bfloat16' = 'float32';
  /** Fills outputs with NaN (or a large negative integer) before a kernel writes them: for tests. */
  poisonOutputs = false;
  readonly pool: BufferPool;

  constructor(readonly addon: NativeAddon) {
    super();
    this.pool = new BufferPool((bytes) => addon.allocate(bytes));
  }

  /** The storage behind a tensor; throws where tfjs lost it. */
  dataOf(dataId: DataId): NativeTensorData {
    return this.data.get(dataId) as NativeTensorData;
  }

  /** A new float32 tensor whose content is still to be written. */
  emptyFloats(shape: number[]): { info: TensorInfo; array: Float32Array } {
    const size = sizeOf(shape);
    const array = new Float32Array(this.pool.acquire(size * 4), 0, size);
    if (this.poisonOutputs) array.fill(NaN);
    return { info: this.adopt(array, shape, 'float32'), array };
  }

  /** A new int32 tensor whose content is still to be written. */
  emptyIntegers(shape: number[]): { info: TensorInfo; array: Int32Array } {
    const size = sizeOf(shape);
    const array = new Int32Array(this.pool.acquire(size * 4), 0, size);
    if (this.poisonOutputs) array.fill(poisonInteger);
    return { info: this.adopt(array, shape, 'int32'), array };
  }

  /** Counts changes of the instruction-set variant: what was packed for another one is of no use. */
  variantChanges = 0;
  private packedBytes = 0;

  /**
   * A weight [outputs, inputs] packed for products of few rows, from the third such product in a row on; before that, and once
   * packed weights take 512 MiB, undefined. Costs the weight's size again (half of it in bfloat16).
   */
  packedWeight(info: TensorInfo): Uint8Array | undefined {
    const data = this.dataOf(info.dataId);
    const bfloat16 = this.matmulPrecision === 'bfloat16';
    const { packed } = data;
    if (packed !== undefined) {
      const current = packed.bfloat16 === bfloat16 && packed.variant === this.variantChanges;
      if (current && data.smallProducts > 0) return packed.bytes;
      this.dropPacked(data);
    }
    if (++data.smallProducts < packAtProduct) return undefined;
    const [outputs, inputs] = info.shape;
    const size = this.addon.packedWeightBytes(inputs, outputs, bfloat16);
    if (this.packedBytes + size > packedLimit) return undefined;
    const bytes = new Uint8Array(this.pool.acquire(size), 0, size);
    this.addon.packWeight(inputs, outputs, bfloat16, this.floats(info), bytes);
    data.packed = { bytes, bfloat16, variant: this.variantChanges };
    this.packedBytes += size;
    return bytes;
  }

  private dropPacked(data: NativeTensorData): void {
    data.smallProducts = 0;
    if (data.packed === undefined) return;
    this.packedBytes -= data.packed.bytes.length;
    this.pool.release(data.packed.bytes.buffer as ArrayBuffer);
    data.packed = undefined;
  }

  /** The values of a float32 tensor, to read. */
  floats(info: TensorInfo): Float32Array {
    const { array } = this.dataOf(info.dataId);
    if (array instanceof Float32Array) return array;
    // A cast of int32 to float32 keeps its integers: convert them now.
    return Float32Array.from(array as ArrayLike<number>);
  }

  /** The values of an int32 tensor, to read. */
  integers(info: TensorInfo): Int32Array {
    const { array } = this.dataOf(info.dataId);
    return array instanceof Int32Array ? array : Int32Array.from(array as ArrayLike<number>);
  }

  /**
   * The values of a float32 tensor, to change in place: seen by every tensor that shares the data, by no array that was
   * handed out before.
   */
  writableFloats(info: TensorInfo): Float32Array {
    const data = this.dataOf(info.dataId);
    this.dropPacked(data);
    if (!data.shared && data.array instanceof Float32Array) return data.array;
    const source = this.floats(info);
    const copy = new Float32Array(this.pool.acquire(source.byteLength), 0, source.length);
    copy.set(source);
    if (data.pooled) this.pool.forget((data.array as Float32Array).buffer as ArrayBuffer);
    data.array = copy;
    data.pooled = true;
    data.shared = false;
    return copy;
  }

  override write(values: backend_util.BackendValues, _shape: number[], dtype: DataType): DataId {
    const dataId = {};
    this.data.set(dataId, new NativeTensorData(values, dtype, false));
    return dataId;
  }

  override move(
    dataId: DataId,
    values: backend_util.BackendValues,
    _shape: number[],
    dtype: DataType,
    refCount: number,
  ): void {
    this.data.set(dataId, new NativeTensorData(values, dtype, false, refCount));
  }

  override disposeData(dataId: DataId, force = false): boolean {
    if (!this.data.has(dataId)) return true;
    const data = this.dataOf(dataId);
    data.refCount--;
    if (!force && data.refCount > 0) return false;
    this.dropPacked(data);
    if (data.complexTensorInfos !== undefined) {
      this.disposeData(data.complexTensorInfos.real.dataId, true);
      this.disposeData(data.complexTensorInfos.imag.dataId, true);
    }
    if (data.pooled) {
      const buffer = (data.array as Float32Array | Int32Array).buffer as ArrayBuffer;
      if (data.shared) this.pool.forget(buffer);
      else this.pool.release(buffer);
    }
    this.data.delete(dataId);
    return true;
  }

  override memory(): { unreliable: boolean; reasons: string[] } {
    return { unreliable: false, reasons: [] };
  }

  private adopt(array: Float32Array | Int32Array, shape: number[], dtype: 'float32' | 'int32'): TensorInfo {
    const dataId = {};
    this.data.set(dataId, new NativeTensorData(array, dtype, true));
    return { dataId, shape, dtype };
  }
}

function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const axis of shape) size *= axis;
  if (!Number.isSafeInteger(size)) {
    throw new KernelsError('OUT_OF_MEMORY', `A tensor of shape [${shape.join(', ')}] is too large.`, { value: shape });
  }
  return size;
}
