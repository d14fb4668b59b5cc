/** A safetensors file built byte by byte from the format's description, without the package's writer. */
export interface RawTensor {
  name: string;
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

export function safetensorsBytes(
  tensors: RawTensor[],
  change: (header: Record<string, Record<string, unknown>>) => unknown = (header) => header,
): Buffer {
  const header: Record<string, Record<string, unknown>> = {};
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const changed = change(header);
  return withHeader(typeof changed === 'string' ? changed : JSON.stringify(changed), ...tensors.map((t) => t.bytes));
}

export function withHeader(header: string, ...data: Uint8Array[]): Buffer {
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeUInt32LE(json.length, 0);
  return Buffer.concat([length, json, ...data]);
}

export const f32 = (...values: number[]): Uint8Array => {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeFloatLE(value, i * 4));
  return bytes;
};
