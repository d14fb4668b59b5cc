/** The error of this package: a stable `code`, the offending value and what to do about it. */

const marker = Symbol.for('@xgen-small/kernels/KernelsError');

export type KernelsErrorOptions = {
  /** What was wrong, as given. */
  value?: unknown;
  /** What the caller can do. */
  remedy?: string;
  cause?: unknown;
};

/** Thrown by every function of this package; `code` is an upper-snake string that stays the same between versions. */
export class KernelsError extends Error {
  readonly code: string;
  readonly value?: unknown;
  readonly remedy?: string;

  constructor(code: string, message: string, options: KernelsErrorOptions = {}) {
    super(options.remedy === undefined ? message : `${message} ${options.remedy}`, { cause: options.cause });
    this.name = 'KernelsError';
    this.code = code;
    this.value = options.value;
    this.remedy = options.remedy;
    Object.defineProperty(this, marker, { value: true, enumerable: false });
  }

  /** True for errors of this class, from this copy of the package or another. */
  static isInstance(error: unknown): error is KernelsError {
    return typeof error === 'object' && error !== null && marker in error;
  }
}
