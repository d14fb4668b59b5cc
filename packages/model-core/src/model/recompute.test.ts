import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors.js';
import { recomputeModeOfBlocks } from './recompute.js';

describe('recompute', () => {
  it('gives every block one mode, or the first blocks those that hold the least', () => {
    expect(recomputeModeOfBlocks('block', 2)).toEqual(['block', 'block']);
    const modes = recomputeModeOfBlocks({ none: 1, elementwise: 2, allButAttention: 1 }, 4);
    expect(modes).toEqual(['allButAttention', 'elementwise', 'elementwise', 'none']);
  });

  it.each([[{ block: 2 }], [{ block: 2, none: 2 }], [{}], [{ block: 1.5, none: 1.5 }], [{ block: 4, none: -1 }]])(
    'refuses %o for three layers',
    (recompute) => {
      let error: unknown;
      try {
        recomputeModeOfBlocks(recompute, 3);
      } catch (thrown) {
        error = thrown;
      }
      expect(ModelError.isInstance(error) && error.code).toBe('INVALID_ARGUMENT');
      expect((error as ModelError).message).toMatch(/add up to 3/);
    },
  );
});
