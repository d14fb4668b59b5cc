/**
 * The arrays that a recorded graph points to and does not own: weights, caches, constants. A graph launched after one of them is gone, or lies
 * elsewhere, would read and write memory of others. Cost of asking: some nanoseconds a tensor.
 */
import type { Handle } from './addon';
import type { PhysicalType } from './physical-type';
import type { CudaTensorData } from './tensor-data';

interface Place {
  data: CudaTensorData;
  handle: Handle;
  type: PhysicalType;
  /** 0 where the bfloat16 copy was not used. */
  shadow: Handle;
}

export class Dependencies {
  private readonly noted = new Map<CudaTensorData, Handle>();
  private places: Place[] = [];

  /** An array, and the bfloat16 copy if that is what was taken. */
  note(data: CudaTensorData, shadow: Handle = 0): void {
    if (shadow !== 0 || !this.noted.has(data)) this.noted.set(data, shadow);
  }

  /**
   * Takes what was noted and is still alive as it lies now; `own` is what the graph's owner looks after. A copy that was dropped since it was
   * noted is one that every launch makes again.
   */
  settle(own: ReadonlySet<CudaTensorData>): void {
    for (const [data, shadow] of this.noted) {
      if (data.handle === 0 || own.has(data)) continue;
      this.places.push({ data, handle: data.handle, type: data.type, shadow: shadow === data.shadow ? shadow : 0 });
    }
    this.noted.clear();
  }

  /** Whether everything still lies where it did, in the type that it had. */
  get unchanged(): boolean {
    return this.places.every(
      ({ data, handle, type, shadow }) =>
        data.handle === handle && data.type === type && (shadow === 0 || data.shadow === shadow),
    );
  }
}
