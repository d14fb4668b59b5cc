/**
 * The report's charts as inline SVG strings: no script, no library, readable in print. Colours are CSS variables of the page, so
 * that light and dark both work. Every function is pure.
 */

export interface Point {
  x: number;
  y: number;
}

export interface Series {
  name: string;
  points: readonly Point[];
  /** Index into the palette; default the series' position. */
  color?: number;
}

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** About `count` round numbers that span [low, high]. */
export function ticks(low: number, high: number, count = 5): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough)!;
  const result: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    result.push(Number((i * step).toPrecision(12)));
  return result;
}

export function shortNumber(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude >= 1e6) return `${trim(value / 1e6)}M`;
  if (magnitude >= 1e3) return `${trim(value / 1e3)}k`;
  if (magnitude !== 0 && magnitude < 0.01)
    return value
      .toExponential(0)
      .replace('e-', '·10⁻')
      .replace(/\d$/, (d) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(d)]);
  return trim(value);
}

function trim(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** At most `limit` points, the mean of each bucket: a curve of thousands of steps stays light. */
export function thin(points: readonly Point[], limit = 240): Point[] {
  if (points.length <= limit) return [...points];
  const result: Point[] = [];
  const size = points.length / limit;
  for (let i = 0; i < limit; i++) {
    const bucket = points.slice(Math.floor(i * size), Math.max(Math.floor((i + 1) * size), Math.floor(i * size) + 1));
    result.push({
      x: bucket[bucket.length - 1].x,
      y: bucket.reduce((sum, { y }) => sum + y, 0) / bucket.length,
    });
  }
  return result;
}

export interface LineChartOptions {
  title: string;
  xLabel: string;
  yLabel: string;
  series: readonly Series[];
  height?: number;
  yMinimum?: number;
  yMaximum?: number;
  /** Vertical lines with a label: where a stage begins. */
  marks?: readonly { x: number; label: string }[];
}

const width = 720;
const margin = { left: 56, right: 16, top: 18, bottom: 38 };

export function lineChart(options: LineChartOptions): string {
  const height = options.height ?? 260;
  const all = options.series
    .flatMap(({ points }) => points)
    .filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
  if (all.length === 0) return `<p class="empty">${escapeHtml(options.title)}: no data.</p>`;
  const [xLow, xHigh] = extent(all.map(({ x }) => x));
  let [yLow, yHigh] = extent(all.map(({ y }) => y));
  yLow = options.yMinimum ?? yLow;
  yHigh = options.yMaximum ?? yHigh;
  if (yLow === yHigh) [yLow, yHigh] = [yLow - 1, yHigh + 1];
  const pad = (yHigh - yLow) * 0.05;
  if (options.yMinimum === undefined) yLow -= pad;
  if (options.yMaximum === undefined) yHigh += pad;
  const px = (x: number): number =>
    margin.left + ((x - xLow) / (xHigh - xLow || 1)) * (width - margin.left - margin.right);
  const py = (y: number): number =>
    height - margin.bottom - ((y - yLow) / (yHigh - yLow)) * (height - margin.top - margin.bottom);
  const grid = ticks(yLow, yHigh, 4).map(
    (y) =>
      `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${r(py(y))}" y2="${r(py(y))}"/><text class="tick" x="${margin.left - 6}" y="${r(py(y) + 4)}" text-anchor="end">${shortNumber(y)}</text>`,
  );
  const xTicks = ticks(xLow, xHigh, 6).map(
    (x) =>
      `<text class="tick" x="${r(px(x))}" y="${height - margin.bottom + 16}" text-anchor="middle">${shortNumber(x)}</text>`,
  );
  // Labels of neighbouring marks stand on two rows, and one that would run off the right edge is written towards the left.
  const marks = (options.marks ?? []).map(({ x, label }, i) => {
    const atEnd = px(x) > width - 130;
    return `<line class="mark" x1="${r(px(x))}" x2="${r(px(x))}" y1="${margin.top}" y2="${height - margin.bottom}"/><text class="mark-label" x="${r(px(x) + (atEnd ? -4 : 4))}" y="${margin.top + 9 + (i % 2) * 13}" text-anchor="${atEnd ? 'end' : 'start'}">${escapeHtml(label)}</text>`;
  });
  const lines = options.series.map(({ points, color }, i) => {
    const path = thin(points)
      .filter(({ y }) => Number.isFinite(y))
      .map(({ x, y }, j) => `${j === 0 ? 'M' : 'L'}${r(px(x))} ${r(py(Math.min(yHigh, Math.max(yLow, y))))}`)
      .join('');
    return `<path class="line" style="stroke:var(--c${(color ?? i) % 6})" d="${path}"/>`;
  });
  return figure(
    options.title,
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(options.title)}">
${grid.join('')}${xTicks.join('')}${marks.join('')}${lines.join('')}
<text class="axis" x="${(width + margin.left) / 2}" y="${height - 4}" text-anchor="middle">${escapeHtml(options.xLabel)}</text>
<text class="axis" transform="translate(12 ${(height - margin.bottom + margin.top) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(options.yLabel)}</text></svg>`,
    options.series.length > 1 ? options.series.map(({ name, color }, i) => ({ name, color: color ?? i })) : [],
  );
}

export interface Bar {
  label: string;
  value: number;
  /** Interval drawn over the bar. */
  low?: number;
  high?: number;
  text?: string;
  color?: number;
}

/** Horizontal bars; `maximum` fixes the scale (1 for shares). */
export function barChart(title: string, bars: readonly Bar[], maximum?: number): string {
  if (bars.length === 0) return `<p class="empty">${escapeHtml(title)}: no data.</p>`;
  const row = 26;
  const left = 150;
  const right = 150;
  const top = maximum ?? Math.max(...bars.map(({ value, high }) => high ?? value), 1e-12);
  const scale = (value: number): number => (Math.max(0, value) / top) * (width - left - right);
  const rows = bars.map(({ label, value, low, high, text, color }, i) => {
    const y = i * row;
    const interval =
      low !== undefined && high !== undefined
        ? `<line class="interval" x1="${r(left + scale(low))}" x2="${r(left + scale(high))}" y1="${y + row / 2}" y2="${y + row / 2}"/>`
        : '';
    const end = left + Math.max(scale(value), high === undefined ? 0 : scale(high));
    return `<text class="label" x="${left - 8}" y="${y + row / 2 + 4}" text-anchor="end">${escapeHtml(label)}</text><rect x="${left}" y="${y + 4}" width="${r(Math.max(1, scale(value)))}" height="${row - 8}" rx="2" style="fill:var(--c${(color ?? 0) % 6})"/>${interval}<text class="tick" x="${r(end + 8)}" y="${y + row / 2 + 4}">${escapeHtml(text ?? shortNumber(value))}</text>`;
  });
  return figure(
    title,
    `<svg viewBox="0 0 ${width} ${bars.length * row + 4}" role="img" aria-label="${escapeHtml(title)}">${rows.join('')}</svg>`,
  );
}

/** Accuracy by length (columns) and depth (rows), 0 to 1, with the number in every cell. */
export function heatMap(
  title: string,
  lengths: readonly number[],
  depths: readonly number[],
  matrix: readonly (readonly number[])[],
): string {
  const cellWidth = 84;
  const cellHeight = 30;
  const left = 64;
  const cells = lengths.flatMap((length, column) =>
    depths.map((depth, rowIndex) => {
      const value = matrix[column][rowIndex];
      const x = left + column * cellWidth;
      const y = rowIndex * cellHeight;
      return `<rect x="${x}" y="${y}" width="${cellWidth - 2}" height="${cellHeight - 2}" style="fill:color-mix(in oklab, var(--good) ${Math.round(value * 100)}%, var(--bad))"><title>length ${length}, depth ${depth}: ${value}</title></rect><text class="cell" x="${x + cellWidth / 2 - 1}" y="${y + cellHeight / 2 + 3}" text-anchor="middle">${Math.round(value * 100)} %</text>`;
    }),
  );
  const bottom = depths.length * cellHeight;
  const labels = [
    ...depths.map(
      (depth, i) =>
        `<text class="tick" x="${left - 8}" y="${i * cellHeight + cellHeight / 2 + 3}" text-anchor="end">${Math.round(depth * 100)} %</text>`,
    ),
    ...lengths.map(
      (length, i) =>
        `<text class="tick" x="${left + i * cellWidth + cellWidth / 2}" y="${bottom + 14}" text-anchor="middle">${length.toLocaleString('en')}</text>`,
    ),
    `<text class="axis" x="${left + (lengths.length * cellWidth) / 2}" y="${bottom + 32}" text-anchor="middle">context length (tokens)</text>`,
    `<text class="axis" transform="translate(12 ${bottom / 2}) rotate(-90)" text-anchor="middle">depth</text>`,
  ];
  const full = left + lengths.length * cellWidth;
  return figure(
    title,
    `<svg viewBox="0 0 ${full} ${bottom + 38}" style="max-width:${full}px" role="img" aria-label="${escapeHtml(title)}">${cells.join('')}${labels.join('')}</svg>`,
  );
}

function figure(title: string, svg: string, legend: readonly { name: string; color: number }[] = []): string {
  const keys = legend.map(
    ({ name, color }) => `<span class="key"><i style="background:var(--c${color % 6})"></i>${escapeHtml(name)}</span>`,
  );
  return `<figure><figcaption>${escapeHtml(title)}${keys.length > 0 ? ` <span class="legend">${keys.join('')}</span>` : ''}</figcaption>${svg}</figure>`;
}

function extent(values: readonly number[]): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Coordinates to a tenth of a pixel: enough for the eye, half the bytes. */
function r(value: number): number {
  return Math.round(value * 10) / 10;
}
