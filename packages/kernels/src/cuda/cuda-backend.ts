/**
 * tfjs's backend on a CUDA device: data ids map to device arrays, kernels queue work and return.
 *
 * Logical float32 is stored as float32 or bfloat16. With `matmulPrecision` 'bfloat16' the decoder's operations write activations and
 * their gradients in bfloat16; parameters, their gradients, log-sum-exp and log-probabilities stay float32 (README, "Precision"). Which it is shows
 * nowhere outside: `read` converts. Values that the host wrote and that are few stay on the host too, so that scalars need no copy back.
 *
 * One backend belongs to one JavaScript environment; its work runs in order on one stream.
 */
import { type backend_util, type DataId, type DataType, KernelBackend, type TensorInfo } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { sizeBetween } from '../native/check-infos';
import type { CudaAddon, CudaMemory, DeviceDescription, Handle } from './addon';
import { Dependencies } from './dependencies';
import { bfloat16, bytesOf, exactType, float32, hostArray, type HostValues, type PhysicalType } from './physical-type';
import { CudaTensorData } from './tensor-data';

export type CudaMatmulPrecision = 'float32' | 'tensorfloat32' | 'bfloat16';

/** Up to here values written by the host are kept there as well, and uploaded when first needed. */
const keptOnHost = 4096;

export class CudaBackend extends KernelBackend {
  private readonly data = new Map<DataId, CudaTensorData>();
  private readonly labels = new Map<string, number>();
  private temporaries: Handle[] = [];
  /** What the running kernel made: gone again if it fails. */
  private created: DataId[] = [];
  private precision: CudaMatmulPrecision = 'float32';
  private watching: Dependencies | undefined;
  /** The operation that device memory is asked for; set by the kernel that runs. */
  label = 0;

  constructor(
    readonly addon: CudaAddon,
    readonly device: DeviceDescription,
  ) {
    super();
  }

  set deterministic(deterministic: boolean) {
    this.addon.setDeterministic(deterministic);
  }

  get matmulPrecision(): CudaMatmulPrecision {
    return this.precision;
  }

  set matmulPrecision(precision: CudaMatmulPrecision) {
    this.precision = precision;
    this.addon.setTensorFloat32(precision === 'tensorfloat32');
  }

  /** What the decoder's operations store activations in. */
  get activationType(): typeof float32 | typeof bfloat16 {
    return this.precision === 'bfloat16' ? bfloat16 : float32;
  }

  /** Runs a kernel's body: memory is accounted to `name`, temporary arrays go when it ends. */
  within<T>(name: string, body: () => T): T {
    const [outerLabel, outerTemporaries, outerCreated] = [this.label, this.temporaries, this.created];
    let label = this.labels.get(name);
    if (label === undefined) this.labels.set(name, (label = this.addon.label(name)));
    this.label = label;
    this.temporaries = [];
    this.created = [];
    try {
      return body();
    } catch (error) {
      for (const dataId of this.created) this.disposeData(dataId, true);
      throw error;
    } finally {
      // Freed in stream order: what was queued before still finds them.
      for (const handle of this.temporaries) this.addon.release(handle);
      this.temporaries = outerTemporaries;
      this.created = outerCreated;
      this.label = outerLabel;
    }
  }

  /** Runs `body` and collects the data whose arrays it takes. */
  watch<T>(body: () => T): { result: T; dependencies: Dependencies } {
    const outer = this.watching;
    const dependencies = new Dependencies();
    this.watching = dependencies;
    try {
      return { result: body(), dependencies };
    } finally {
      this.watching = outer;
    }
  }

  /** The storage behind a tensor; throws where it is gone. */
  dataOf(dataId: DataId): CudaTensorData {
    const data = this.data.get(dataId);
    if (data === undefined) throw new KernelsError('NATIVE_FAILURE', 'This tensor has no data on the device.');
    return data;
  }

  typeOf(info: TensorInfo): PhysicalType {
    return this.dataOf(info.dataId).type;
  }

  /** The values of a numeric tensor where they are on the host; nothing is copied from the device. */
  hostValues(info: TensorInfo): HostValues | undefined {
    const { host, dtype } = this.dataOf(info.dataId);
    return dtype === 'string' ? undefined : (host as HostValues | undefined);
  }

  /** A new tensor whose content is still to be written. */
  create(
    shape: readonly number[],
    type: PhysicalType,
    dtype: DataType = 'float32',
  ): { info: TensorInfo; handle: Handle } {
    const count = sizeBetween(shape, 0);
    const data = new CudaTensorData(dtype, count, type);
    data.handle = this.addon.create(count, type, this.label);
    const dataId = {};
    this.data.set(dataId, data);
    this.created.push(dataId);
    return { info: { dataId, shape: [...shape], dtype }, handle: data.handle };
  }

  /** A tensor of other shape or with another handle to the same data. */
  share(info: TensorInfo, shape: readonly number[], dtype: DataType = info.dtype): TensorInfo {
    this.incRef(info.dataId);
    return { dataId: info.dataId, shape: [...shape], dtype };
  }

  /** An array that is gone when the running kernel ends. */
  temporary(count: number, type: PhysicalType): Handle {
    const handle = this.addon.create(count, type, this.label);
    this.temporaries.push(handle);
    return handle;
  }

  /** The tensor's array as it is, to read. */
  array(info: TensorInfo): Handle {
    const data = this.dataOf(info.dataId);
    if (data.handle === 0) {
      if (data.host === undefined || data.dtype === 'string') {
        throw new KernelsError('UNSUPPORTED', `Tensors of dtype ${data.dtype} do not live on the device.`);
      }
      data.handle = this.addon.create(data.count, data.type, this.label);
      this.addon.upload(data.handle, bytesOf(data.host as HostValues));
    }
    this.watching?.note(data);
    return data.handle;
  }

  /** The tensor's values as elements of `type`, to read: its own array where that is of the type, else a temporary one. */
  arrayAs(info: TensorInfo, type: PhysicalType): Handle {
    const source = this.array(info);
    if (this.dataOf(info.dataId).type === type) return source;
    const handle = this.temporary(sizeBetween(info.shape, 0), type);
    this.addon.convertTo(sizeBetween(info.shape, 0), source, handle);
    return handle;
  }

  /** A weight in the activations' type, to read; the bfloat16 copy of a float32 one is kept. */
  weight(info: TensorInfo): Handle {
    const data = this.dataOf(info.dataId);
    if (data.type === this.activationType) return this.array(info);
    if (data.type !== float32) return this.arrayAs(info, this.activationType);
    if (data.shadow === 0) {
      const source = this.array(info);
      data.shadow = this.addon.create(data.count, bfloat16, this.addon.label('bfloat16 copies of weights'));
      this.addon.convertTo(data.count, source, data.shadow);
    }
    this.watching?.note(data, data.shadow);
    return data.shadow;
  }

  /** The array of a tensor that is changed in place: what was derived from the old values is dropped. */
  writable(info: TensorInfo): Handle {
    const handle = this.array(info);
    const data = this.dataOf(info.dataId);
    data.host = undefined;
    this.dropShadow(data);
    return handle;
  }

  /** As `writable`, for a kernel that writes the bfloat16 copy as well: both. */
  writableWithShadow(info: TensorInfo): { handle: Handle; shadow: Handle } {
    const handle = this.array(info);
    const data = this.dataOf(info.dataId);
    data.host = undefined;
    if (this.activationType === float32) this.dropShadow(data);
    this.watching?.note(data, data.shadow);
    return { handle, shadow: data.shadow };
  }

  /** Changes how a tensor that owns its data is stored. */
  store(info: TensorInfo, type: PhysicalType): void {
    const data = this.dataOf(info.dataId);
    if (data.type === type) return;
    this.addon.retype(this.writable(info), type);
    data.type = type;
  }

  /** A new tensor of the given values. */
  fromHost(values: HostValues, shape: readonly number[], dtype: DataType): TensorInfo {
    return { dataId: this.write(values, [...shape], dtype), shape: [...shape], dtype };
  }

  override write(values: backend_util.BackendValues, shape: number[], dtype: DataType): DataId {
    const dataId = {};
    this.put(dataId, values, shape, dtype);
    return dataId;
  }

  override move(
    dataId: DataId,
    values: backend_util.BackendValues,
    shape: number[],
    dtype: DataType,
    refCount: number,
  ): void {
    this.put(dataId, values, shape, dtype).refCount = refCount;
  }

  private put(dataId: DataId, values: backend_util.BackendValues, shape: number[], dtype: DataType): CudaTensorData {
    const count = sizeBetween(shape, 0);
    if (dtype === 'string') {
      const data = new CudaTensorData(dtype, count, float32);
      data.host = values;
      this.data.set(dataId, data);
      return data;
    }
    const data = new CudaTensorData(dtype, count, exactType(dtype));
    const typed = toTyped(values, dtype);
    if (count <= keptOnHost) {
      data.host = typed.slice();
    } else {
      data.handle = this.addon.create(count, data.type, this.label);
      this.addon.upload(data.handle, bytesOf(typed));
    }
    this.data.set(dataId, data);
    return data;
  }

  override readSync(dataId: DataId): backend_util.BackendValues {
    const data = this.dataOf(dataId);
    if (data.host !== undefined) return data.host.slice();
    const values = hostArray(data.dtype, data.count);
    try {
      if (data.count > 0) this.addon.readSync(data.handle, exactType(data.dtype), bytesOf(values));
    } catch (error) {
      throw this.readFailure(error);
    }
    return values;
  }

  /** The values of several tensors with one wait for the device, where they are stored as they are read. */
  readTogether(dataIds: readonly DataId[]): HostValues[] {
    const all = dataIds.map((dataId) => this.dataOf(dataId));
    const direct = all.every(
      ({ host, count, dtype, type }) =>
        host === undefined && count > 0 && dtype !== 'string' && type === exactType(dtype),
    );
    if (!direct || all.length < 2) return dataIds.map((dataId) => this.readSync(dataId) as HostValues);
    const handles = Int32Array.from(all, ({ handle }) => handle);
    const parts = all.map(({ dtype, count }) => hostArray(dtype, count));
    const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
    try {
      this.addon.readTogether(handles.length, handles, bytes);
    } catch (error) {
      throw this.readFailure(error);
    }
    let at = 0;
    for (const part of parts) {
      bytesOf(part).set(bytes.subarray(at, at + part.byteLength));
      at += part.byteLength;
    }
    return parts;
  }

  override async read(dataId: DataId): Promise<backend_util.BackendValues> {
    const data = this.dataOf(dataId);
    if (data.host !== undefined) return data.host.slice();
    const values = hostArray(data.dtype, data.count);
    try {
      if (data.count > 0) await this.addon.read(data.handle, exactType(data.dtype), bytesOf(values));
    } catch (error) {
      throw this.readFailure(error);
    }
    return values;
  }

  /** What kernels found wrong since the last read comes to light there. */
  private readFailure(error: unknown): unknown {
    if (!(error instanceof Error) || KernelsError.isInstance(error)) return error;
    const code = 'code' in error && typeof error.code === 'string' ? error.code : 'NATIVE_FAILURE';
    return new KernelsError(code, `${error.message} (found on ${this.device.name})`, { cause: error });
  }

  override disposeData(dataId: DataId, force = false): boolean {
    const data = this.data.get(dataId);
    if (data === undefined) return true;
    data.refCount--;
    if (!force && data.refCount > 0) return false;
    if (data.handle !== 0) this.addon.release(data.handle);
    data.handle = 0;
    this.dropShadow(data);
    this.data.delete(dataId);
    return true;
  }

  private dropShadow(data: CudaTensorData): void {
    if (data.shadow === 0) return;
    this.addon.release(data.shadow);
    data.shadow = 0;
  }

  override numDataIds(): number {
    return this.data.size;
  }

  override refCount(dataId: DataId): number {
    return this.data.get(dataId)?.refCount ?? 0;
  }

  override incRef(dataId: DataId): void {
    this.dataOf(dataId).refCount++;
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override memory(): { unreliable: boolean; reasons: string[]; device: CudaMemory } {
    return { unreliable: false, reasons: [], device: this.addon.statistics() };
  }

  override timerAvailable(): boolean {
    return true;
  }

  /** Wall time of `f` and of the work it queued, in milliseconds. */
  override async time(f: () => void): Promise<{ kernelMs: number }> {
    this.addon.synchronizeDevice();
    const before = performance.now();
    f();
    this.addon.synchronizeDevice();
    return { kernelMs: performance.now() - before };
  }

  override dispose(): void {
    for (const dataId of [...this.data.keys()]) this.disposeData(dataId, true);
  }
}

function toTyped(values: backend_util.BackendValues, dtype: DataType): HostValues {
  if (dtype === 'float32') {
    return values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
  }
  if (dtype === 'int32') return values instanceof Int32Array ? values : Int32Array.from(values as ArrayLike<number>);
  return values instanceof Uint8Array ? values : Uint8Array.from(values as ArrayLike<number>);
}
