/** The native backend: C++ kernels through Node-API. Importing it registers nothing; `nativeAdapter` does, when asked. */
export { nativeAdapter } from './adapter';
export { type MatmulPrecision, NativeBackend } from './native-backend';
export {
  nativeBackend,
  nativeVariants,
  setMatmulPrecision,
  setNativeVariant,
  setPoisonOutputs,
  setThreadCount,
  threadCount,
} from './settings';
