/** How much more processor time eight times the input takes: 8 where cost grows with the size, 64 where it grows with its square. */

export const linear = 24;

/** Below it, a time says little. */
const leastMicroseconds = 2000;

export async function growthOf(run: (size: number) => unknown, size: number): Promise<number> {
  const times = [size, 8 * size].map(() => Infinity);
  // The least of some tries: what else the machine does only adds.
  for (let attempt = 0; attempt < 3; attempt++) {
    for (const [index, factor] of [1, 8].entries()) {
      const before = process.cpuUsage();
      await run(factor * size);
      const { user, system } = process.cpuUsage(before);
      times[index] = Math.min(times[index], user + system);
    }
  }
  return times[1] / Math.max(times[0], leastMicroseconds);
}
