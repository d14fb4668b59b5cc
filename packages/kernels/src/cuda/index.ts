/** The CUDA backend. Importing it registers nothing and touches no device; `cudaAdapter` does, when asked. */
export { cudaAdapter } from './adapter';
export type { CudaMemory as DeviceMemory, MemoryHolder } from './addon';
export { canRecord, capture, type CapturedFunction } from './capture';
export {
  activeCudaBackend,
  deviceMemory,
  readTogether,
  resetDeviceMemoryPeaks,
  setDeterministic,
  setMatmulPrecision,
  startCudaBackend,
  storeInBfloat16,
  synchronizeDevice,
} from './settings';
