/**
 * The CUDA addon as TypeScript sees it (native/cuda/binding): the device, its memory and graphs; its operations are in
 * addon-operations.ts. The addon checks every handle, its length and its type; a call queues work and returns.
 */
import type { FusedOperations, Handle, StockOperations } from './addon-operations';
import type { PhysicalType } from './physical-type';

export type { DecoderStepSizes, Handle } from './addon-operations';

export interface DeviceDescription {
  name: string;
  major: number;
  minor: number;
  totalBytes: number;
  multiprocessors: number;
  /** As CUDA numbers versions: 13000 is 13.0. */
  driverVersion: number;
  runtimeVersion: number;
}

export interface CudaProbe {
  emulated: boolean;
  available: boolean;
  reason: string;
  remedy: string;
  /** cuBLASLt and cuDNN: their versions, or why they are not there; attention works without cuDNN. */
  library: string;
  attentionLibrary: string;
  devices: DeviceDescription[];
}

/** What holds device memory. */
export interface MemoryHolder {
  name: string;
  blocks: number;
  bytes: number;
}

export interface CudaMemory {
  liveBytes: number;
  liveBlocks: number;
  cachedBytes: number;
  reservedBytes: number;
  peakLiveBytes: number;
  peakReservedBytes: number;
  deviceAllocations: number;
  deviceFreeBytes: number;
  deviceTotalBytes: number;
  /** Live, by powers of two. */
  bySize: MemoryHolder[];
  /** Live, by the operation that made it, largest first. */
  byOperation: MemoryHolder[];
}

export interface CudaAddon extends FusedOperations, StockOperations {
  probe(): CudaProbe;
  start(ordinal: number): void;
  /** Only of the emulated device. */
  setCapacity?(bytes: number): void;

  label(name: string): number;
  create(count: number, type: PhysicalType, label: number): Handle;
  release(array: Handle): void;
  /** Converts in place, under the same handle. */
  retype(array: Handle, type: PhysicalType): void;
  upload(array: Handle, bytes: Uint8Array): void;
  /** As `upload`, for several arrays, whose elements lie one behind the other in `source`. */
  uploadTogether(count: number, arrays: Int32Array, source: Uint8Array): void;
  readSync(array: Handle, type: PhysicalType, target: Uint8Array): void;
  /** Several arrays as they are, one behind the other, with one wait. */
  readTogether(count: number, arrays: Int32Array, target: Uint8Array): void;
  read(array: Handle, type: PhysicalType, target: Uint8Array): Promise<void>;
  synchronizeDevice(): void;
  /** Opens or closes the range that a profiler attached from outside records; waits for the device first. */
  setProfiling(on: boolean): void;
  statistics(): CudaMemory;
  resetPeaks(): void;
  releaseCached(): void;
  setPoison(poison: boolean): void;
  /** Only kernels that give the same bits on every run. */
  setDeterministic(deterministic: boolean): void;
  /** cuDNN's attention wherever it takes the case, even where a kernel here is faster: for comparisons. */
  setLibraryAttention(preferred: boolean): void;
  setTensorFloat32(rounded: boolean): void;

  beginCapture(): void;
  endCapture(): number;
  abandonCapture(): void;
  replay(graph: number): void;
  destroyGraph(graph: number): void;
}
