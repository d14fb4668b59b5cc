/** Names of the safetensors format (https://github.com/huggingface/safetensors, "Format"). */
export type SafetensorsDtype =
  'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U64' | 'U32' | 'U16' | 'U8' | 'BOOL';

export interface SafetensorsEntry {
  name: string;
  dtype: SafetensorsDtype;
  shape: number[];
  /** Absolute byte offset in `file`. */
  offset: number;
  byteLength: number;
  file: string;
}

/** One tensor to write. `data` is called once, when its turn comes, so that only one is in memory at a time. */
export interface SafetensorsSource {
  name: string;
  dtype: SafetensorsDtype;
  shape: number[];
  /** Row-major values: numbers for the float and small integer dtypes (converted to `dtype`), or raw little-endian bytes. */
  data: () => SafetensorsData | Promise<SafetensorsData>;
}

export type SafetensorsData =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;
