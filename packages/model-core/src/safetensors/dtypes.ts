/** Element types of safetensors: sizes, and conversion to and from the numbers in memory. Little-endian throughout. */
import { ModelError } from '../errors.js';
import type { SafetensorsData, SafetensorsDtype } from './types.js';

export const dtypeBytes: Readonly<Record<SafetensorsDtype, number>> = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

let halfTable: Float32Array | undefined;

/** All 65,536 half-precision values as float32 (IEEE 754-2019, binary16). */
function halfValues(): Float32Array {
  halfTable ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  });
  return halfTable;
}

/** Half-precision bits of a float32 bit pattern, rounded to nearest, ties to even. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (magnitude < 0x38800000) {
    // Subnormal: in units of 2^-24 the value is small enough for exact arithmetic and one rounding.
    const exponent = magnitude >>> 23;
    if (exponent < 102) return sign;
    const significand = (magnitude & 0x7fffff) | 0x800000;
    const shift = 126 - exponent;
    const kept = significand >>> shift;
    const rest = significand & ((1 << shift) - 1);
    const half = 1 << (shift - 1);
    return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** bfloat16 bits of a float32 bit pattern, rounded to nearest, ties to even. */
function bfloat16Bits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // a NaN stays one
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Converts `bytes` (aligned to the dtype's size) into `target` from `at`; F32 needs no conversion. */
export function decodeFloat32(dtype: SafetensorsDtype, bytes: Uint8Array, target: Float32Array, at: number): void {
  const { buffer, byteOffset } = bytes;
  const count = bytes.length / dtypeBytes[dtype];
  switch (dtype) {
    case 'F64':
      target.set(new Float64Array(buffer, byteOffset, count), at);
      return;
    case 'F16': {
      const table = halfValues();
      const source = new Uint16Array(buffer, byteOffset, count);
      for (let i = 0; i < count; i++) target[at + i] = table[source[i]]!;
      return;
    }
    case 'BF16': {
      const source = new Uint16Array(buffer, byteOffset, count);
      const bits = new Uint32Array(target.buffer, target.byteOffset + at * 4, count);
      for (let i = 0; i < count; i++) bits[i] = source[i] << 16;
      return;
    }
    default:
      throw new ModelError('INVALID_ARGUMENT', `A ${dtype} tensor was asked for as float32.`, {
        value: dtype,
        remedy: 'Read it with readInt32 or readBytes.',
      });
  }
}

/** Converts integers into `target`; a value outside int32 is an error, not a wrapped number. I32 needs no conversion. */
export function decodeInt32(dtype: SafetensorsDtype, bytes: Uint8Array, target: Int32Array, at: number): void {
  const { buffer, byteOffset } = bytes;
  const count = bytes.length / dtypeBytes[dtype];
  const views: Partial<Record<SafetensorsDtype, () => ArrayLike<number | bigint>>> = {
    I64: () => new BigInt64Array(buffer, byteOffset, count),
    U64: () => new BigUint64Array(buffer, byteOffset, count),
    U32: () => new Uint32Array(buffer, byteOffset, count),
    I16: () => new Int16Array(buffer, byteOffset, count),
    U16: () => new Uint16Array(buffer, byteOffset, count),
    I8: () => new Int8Array(buffer, byteOffset, count),
    U8: () => bytes,
    BOOL: () => bytes,
  };
  const source = views[dtype]?.();
  if (source === undefined) {
    throw new ModelError('INVALID_ARGUMENT', `A ${dtype} tensor was asked for as int32.`, {
      value: dtype,
      remedy: 'Read it with readFloat32.',
    });
  }
  for (let i = 0; i < count; i++) {
    const value = Number(source[i]);
    if (value !== (value | 0)) {
      throw new ModelError('INVALID_SAFETENSORS', `The ${dtype} value ${source[i]} does not fit an int32.`, {
        value: source[i],
        remedy: 'Read the tensor with readBytes.',
      });
    }
    target[at + i] = value;
  }
}

/** Encodes elements [from, to) as `dtype`. Bytes of the right total length pass through for any dtype. */
export function encode(dtype: SafetensorsDtype, data: SafetensorsData, from: number, to: number): Uint8Array {
  const size = dtypeBytes[dtype];
  const native: Partial<Record<SafetensorsDtype, unknown>> = {
    F64: Float64Array,
    F32: Float32Array,
    I64: BigInt64Array,
    U64: BigUint64Array,
    I32: Int32Array,
    U32: Uint32Array,
    I16: Int16Array,
    U16: Uint16Array,
    I8: Int8Array,
    U8: Uint8Array,
    BOOL: Uint8Array,
  };
  if (data instanceof Uint8Array || data.constructor === native[dtype]) {
    return new Uint8Array(data.buffer, data.byteOffset + from * size, (to - from) * size);
  }
  if (data instanceof Float32Array && (dtype === 'F16' || dtype === 'BF16')) {
    const bits = new Uint32Array(data.buffer, data.byteOffset + from * 4, to - from);
    const convert = dtype === 'F16' ? halfBits : bfloat16Bits;
    const out = new Uint16Array(to - from);
    for (let i = 0; i < out.length; i++) out[i] = convert(bits[i]);
    return new Uint8Array(out.buffer);
  }
  throw new ModelError('INVALID_ARGUMENT', `${data.constructor.name} cannot be written as ${dtype}.`, {
    value: dtype,
    remedy: 'Give the dtype’s own array, a Float32Array for F16 and BF16, or raw bytes in a Uint8Array.',
  });
}
