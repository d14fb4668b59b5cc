import { describe, expect, it } from 'vitest';
import { barChart, heatMap, lineChart, shortNumber, thin, ticks } from './charts.js';

describe('charts', () => {
  it('puts ticks on round numbers inside the range', () => {
    expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks(0.13, 0.52, 4)).toEqual([0.2, 0.3, 0.4, 0.5]);
  });

  it('writes numbers briefly', () => {
    expect([0, 0.5, 1234, 2_500_000, 0.002].map(shortNumber)).toEqual(['0', '0.5', '1.23k', '2.5M', '2·10⁻³']);
  });

  it('thins a long curve and keeps its end and its mean', () => {
    const points = Array.from({ length: 10_000 }, (_, x) => ({ x, y: x % 2 }));
    const few = thin(points, 100);
    expect(few).toHaveLength(100);
    expect(few.at(-1)?.x).toBe(9999);
    expect(few.reduce((sum, { y }) => sum + y, 0) / 100).toBeCloseTo(0.5);
  });

  it('escapes what it is given and never writes NaN', () => {
    const svg = lineChart({
      title: '<b>',
      xLabel: 'x',
      yLabel: 'y',
      series: [
        {
          name: 'a',
          points: [
            { x: 0, y: NaN },
            { x: 1, y: 1 },
            { x: 2, y: 1 },
          ],
        },
      ],
    });
    expect(svg).toContain('&lt;b&gt;');
    expect(svg).not.toContain('NaN');
    expect(lineChart({ title: 't', xLabel: '', yLabel: '', series: [] })).toContain('no data');
  });

  it('labels every bar and every cell', () => {
    expect(
      barChart('b', [
        { label: 'one', value: 1 },
        { label: 'two', value: 2, low: 1, high: 3 },
      ]).match(/<rect/g),
    ).toHaveLength(2);
    const map = heatMap(
      'h',
      [256, 512],
      [0, 0.5, 1],
      [
        [1, 0.5, 0],
        [0.25, 0.25, 0.25],
      ],
    );
    expect(map.match(/class="cell"/g)).toHaveLength(6);
    expect(map).toContain('50 %');
  });
});
