/** What `initializeBackend` and `describeBackends` ask of each backend. */

export type BackendName = 'native' | 'wasm' | 'cpu' | 'cuda' | 'tensorflow';

/** One backend as this machine has it. */
export interface BackendDescription {
  name: BackendName;
  available: boolean;
  /** One line: what it is here (instruction set, threads, library version), or why it does not work. */
  detail: string;
  /** What to do about it, where it does not work. */
  remedy?: string;
  /** Threads it computes with, where known. */
  threads?: number;
  /** Instruction-set variant in use (`native`). */
  variant?: string;
  /** Variants this processor could run (`native`). */
  variants?: readonly string[];
}

export interface BackendAdapter {
  readonly name: BackendName;
  /** Finds out whether the backend works; loads code, activates nothing, never throws. */
  describe(): Promise<BackendDescription>;
  /** Registers the backend with tfjs; called only after `describe` said available. */
  register(): Promise<void>;
}
