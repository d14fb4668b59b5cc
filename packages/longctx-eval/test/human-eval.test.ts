import { describe, expect, it } from 'vitest';
import { humanEval, inspectSandbox, type CodeProblem } from '../src/index.js';
import { fakeModel } from './fake-models.js';

const problem: CodeProblem = {
  id: 'T/0',
  prompt: 'def triple(x: int) -> int:\n    """Return three times x.\n    >>> triple(2)\n    6\n    """\n',
  entryPoint: 'triple',
  test: 'def check(candidate):\n    assert candidate(2) == 6\n    assert candidate(-1) == -3\n',
};

/** No program here that ends takes so long, on a machine however busy. */
const patient = { timeoutSeconds: 100 };
const report = await inspectSandbox();
const note = report.available ? '' : ` (SKIPPED: ${report.problems.join('; ')})`;

describe.skipIf(!report.available)(`humanEval${note}`, () => {
  const outcome = async (completion: string, more = {}) => {
    const { records } = await humanEval({
      model: fakeModel(() => completion),
      problems: [problem],
      sandbox: patient,
      ...more,
    });
    const [detail] = (records[0].metadata as { completions: { outcome: string; error?: string }[] }).completions;
    return { score: records[0].score, ...detail };
  };

  it.each([
    ['a plain continuation', '    return 3 * x\n'],
    ['one that runs on', '    return 3 * x\n\n\ndef other():\n    return (((\n'],
    ['one that prints', '    print("x")\n    return 3 * x\n# done'],
    ['a fenced body', '```python\n    return 3 * x\n```\nThat is it.'],
    ['a fenced function', 'Here:\n```python\nimport math\n\ndef triple(x):\n    return 3 * x\n```'],
    ['a whole function', 'def triple(x):\n    return x + x + x\n'],
  ])('passes %s', async (_, completion) => {
    expect(await outcome(completion)).toMatchObject({ score: 1, outcome: 'passed' });
  });

  it('fails what is wrong, for the right reason', async () => {
    expect(await outcome('    return 2 * x\n')).toMatchObject({ score: 0, outcome: 'failed', error: 'AssertionError' });
    expect(await outcome('    return (\n')).toMatchObject({ score: 0, outcome: 'failed' });
    expect(await outcome('    while True: pass\n', { sandbox: { timeoutSeconds: 1 } })).toMatchObject({
      score: 0,
      outcome: 'timeout',
    });
  });

  it('is not taken in by a program that leaves before its tests', async () => {
    for (const body of ['    import os; os._exit(0)\n', '    import sys; sys.exit(0)\n', '    raise SystemExit\n']) {
      expect(await outcome(body)).toMatchObject({ score: 0, outcome: 'exited early' });
    }
  });

  it('estimates pass@k over several samples', async () => {
    let calls = 0;
    const model = fakeModel(() => (calls++ % 2 === 0 ? '    return 3 * x\n' : '    return x\n'));
    const result = await humanEval({ model, problems: [problem], samplesPerProblem: 4, sandbox: patient });
    expect(result.passAt.map(({ k, estimate }) => [k, estimate.mean])).toEqual([
      [1, 0.5],
      [2, 1 - 1 / 6],
      [4, 1],
    ]);
    expect(result.sandbox.network).not.toBe('none');
  });
});
