/** Types of the maths generator. */

export type MathOperation =
  'addition' | 'subtraction' | 'multiplication' | 'division' | 'comparison' | 'money' | 'time';

/**
 * 1: one step, operands at most 20. 2: one step, numbers at most 100, or two steps with small numbers.
 * 3: two or three steps, numbers at most 1,000.
 */
export type MathDifficulty = 1 | 2 | 3;

export interface MathProblem {
  /** Stable: the same problem has the same id in every run, whatever the seed. */
  id: string;
  question: string;
  /** One equation a line, then `#### <integer>`. */
  reasoning: string;
  answer: number;
  difficulty: MathDifficulty;
  operation: MathOperation;
}

export interface MathProblemOptions {
  seed: number;
  count: number;
  /** One level or several (mixed evenly); default [1]. */
  difficulty?: MathDifficulty | readonly MathDifficulty[];
  /** Default: all. */
  operations?: readonly MathOperation[];
  /**
   * `train` and `heldout` never share a problem: a problem belongs to one side by the hash of its canonical form (template
   * and numbers, names and objects left out), whatever the seed. Default `train`.
   */
  split?: 'train' | 'heldout';
  /** Share of canonical problems on the held-out side; default 0.05. Both sides must use the same value. */
  heldoutFraction?: number;
}

export interface MathDocumentOptions extends Omit<MathProblemOptions, 'count'> {
  /** Number of documents. */
  count: number;
  /** Problems in a document, smallest and largest; default [4, 12]. */
  problemsPerDocument?: readonly [number, number];
}

export interface MathDocument {
  id: string;
  text: string;
}
