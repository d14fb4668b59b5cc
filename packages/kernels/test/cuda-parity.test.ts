/** The proof that training on `cuda` is PyTorch's (bench/cuda/parity): its tokens, its files, and that it notices what is wrong. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, expect, test } from 'vitest';

interface Tensor {
  name: string;
  shape: number[];
  values: Float32Array;
}
interface Comparison {
  passed: boolean;
  losses: {
    passed: boolean;
    worst: number;
    step: number;
    fall: number;
    peerToItself?: { worst: number; step: number };
  };
  logits: {
    weights: string;
    passed: boolean;
    oursToPeer: number;
    oursToExact: number;
    oursToFloat32: number;
    peerToFloat32: number;
    excess?: number;
    peerToItself?: number;
  }[];
}

const parity = join(dirname(fileURLToPath(import.meta.url)), '../bench/cuda/parity');
const { createTokens } = (await import(join(parity, 'tokens.mjs'))) as {
  createTokens: (options: { vocabulary: number; sequences: number; length: number; seed: number }) => Int32Array;
};
const { readSafetensors, writeSafetensors } = (await import(join(parity, 'safetensors.mjs'))) as {
  readSafetensors: (file: string) => Iterable<Tensor>;
  writeSafetensors: (file: string, shapes: [string, number[]][], tensors: Iterable<Tensor>) => void;
};
const { compareParity } = (await import(join(parity, 'compare.mjs'))) as {
  compareParity: (folder: string) => Comparison;
};
const folder = mkdtempSync(join(tmpdir(), 'parity-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('tokens: the same from the same seed, in range, and half of them follow from the two before', () => {
  const options = { vocabulary: 500, sequences: 3, length: 4000, seed: 3 };
  const tokens = createTokens(options);
  expect(createTokens(options)).toEqual(tokens);
  expect(createTokens({ ...options, seed: 4 })).not.toEqual(tokens);
  expect(tokens.every((token) => token >= 0 && token < 500)).toBe(true);
  // What most often follows a context that came often must come about half of the time; the token alone must predict worse.
  const best = (context: (i: number) => string) => {
    const followers = new Map<string, Map<number, number>>();
    for (let i = 2; i < tokens.length; i++) {
      const key = context(i);
      const counts = followers.get(key) ?? new Map<number, number>();
      followers.set(key, counts.set(tokens[i], (counts.get(tokens[i]) ?? 0) + 1));
    }
    let [right, all] = [0, 0];
    for (const counts of followers.values()) {
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
      if (total < 50) continue;
      right += Math.max(...counts.values());
      all += total;
    }
    return right / all;
  };
  const second = best((i) => `${tokens[i - 1]} ${tokens[i - 2] & 3}`);
  expect(second).toBeGreaterThan(0.45);
  expect(second).toBeLessThan(0.75);
  expect(best((i) => `${tokens[i - 1]}`)).toBeLessThan(second - 0.1);
});

test('safetensors: read back what was written, with a header as the format says, and no others than announced', () => {
  const file = join(folder, 'a.safetensors');
  const tensors = [
    { name: 'a', shape: [2, 3], values: Float32Array.of(1, 2, 3, 4, 5, -0.5) },
    { name: 'b', shape: [1], values: Float32Array.of(7) },
  ];
  const shapes = tensors.map(({ name, shape }): [string, number[]] => [name, shape]);
  writeSafetensors(file, shapes, tensors);
  expect([...readSafetensors(file)]).toEqual(tensors);
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE());
  expect(length % 8).toBe(0);
  expect(JSON.parse(bytes.toString('utf8', 8, 8 + length))).toMatchObject({
    a: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
    b: { dtype: 'F32', shape: [1], data_offsets: [24, 28] },
  });
  expect(bytes.readFloatLE(8 + length + 20)).toBe(-0.5);
  expect(() => writeSafetensors(file, shapes, tensors.slice(1))).toThrow('b [1] with 1 numbers');
  expect(() => writeSafetensors(file, shapes, tensors.slice(0, 1))).toThrow('1 of 2');
});

const losses = [10, 9, 8, 7];
beforeEach(() => {
  write('plan.json', { preset: {}, sequences: 1, length: 4, steps: 4, rows: [0], minimumFall: 0.2, settings: {} });
  write('ours.json', { losses });
  write('peer.json', { losses: losses.map((loss, i) => loss * (1 + (i === 2 ? -0.004 : 0.001))), rounds: true });
  for (const weights of ['initial', 'trained']) {
    logits(`ours.${weights}`, [3, 4.028]);
    logits(`peer.${weights}`, [3, 3.98]);
    logits(`exact.${weights}`, [3, 4]);
    logits(`float32.${weights}`, [3, 4.01]);
  }
});

test('agreeing runs pass, with the worst step and the distances', () => {
  const comparison = compareParity(folder);
  expect(comparison.passed).toBe(true);
  expect(comparison.losses).toMatchObject({ passed: true, step: 3 });
  expect(comparison.losses.worst).toBeCloseTo(0.004 / 0.996, 9);
  expect(comparison.losses.fall).toBeCloseTo(0.3, 9);
  const [initial] = comparison.logits;
  expect(initial.oursToPeer).toBeCloseTo(0.048 / Math.hypot(3, 3.98), 6);
  expect(initial.oursToExact).toBeCloseTo(0.028 / 5, 6);
  expect(initial.oursToFloat32).toBeCloseTo(0.018 / Math.hypot(3, 4.01), 6);
  expect(initial.peerToFloat32).toBeCloseTo(0.03 / Math.hypot(3, 4.01), 6);
  expect(initial.excess).toBeCloseTo(1.4, 4);
});

test('the peer against itself is reported, and decides nothing', () => {
  expect(compareParity(folder).losses.peerToItself).toBeUndefined();
  write('again.json', { losses: losses.map((loss, i) => loss * (i === 1 ? 1.05 : 1)) });
  const comparison = compareParity(folder);
  rmSync(join(folder, 'again.json'));
  expect(comparison.passed).toBe(true);
  expect(comparison.losses.peerToItself).toMatchObject({ step: 2 });
  expect(comparison.losses.peerToItself?.worst).toBeCloseTo(1.05 / 1.001 - 1, 9);
});

test.each([
  ['1.3 % apart itself', 4.0306, true],
  ['1.0 % apart itself', 4.017, false],
])("logits 1.1 % from the peer's, which is %s", (_, second, passes) => {
  logits('ours.initial', [3.045, 4]);
  logits('peer.initial', [3, 3.966]);
  logits('again.initial', [3, second]);
  const [initial] = compareParity(folder).logits;
  rmSync(join(folder, 'again.initial.logits'));
  expect(initial.oursToPeer).toBeCloseTo(Math.hypot(0.045, 0.034) / Math.hypot(3, 3.966), 6);
  expect(initial.passed).toBe(passes);
});

test.each([
  ['a loss 0.6 % off at one step', () => write('peer.json', { losses: [10, 9.054, 8, 7], rounds: true })],
  ['a loss that is no number', () => write('ours.json', { losses: [10, NaN, 8, 7] })],
  ['losses that are no numbers on both sides', () => both([10, 9, NaN, 7])],
  ['a loss that hardly falls', () => both([10, 9.9, 9.8, 9.7])],
  ['logits 2 % from exact', () => logits('ours.trained', [3, 4.1])],
  ["logits 1.1 % from the peer's, which is not known to be farther from itself", () => apart()],
  ['logits that are no numbers', () => logits('ours.initial', [3, NaN])],
  ['logits much farther from exact than the peer', () => logits('peer.initial', [3, 4.001])],
])('%s: that fails', (_, spoil) => {
  spoil();
  expect(compareParity(folder).passed).toBe(false);
});

test('a stand-in that does not round is no measure for how far from exact we may be', () => {
  write('peer.json', { losses, rounds: false });
  logits('peer.initial', [3, 4]);
  const [initial] = compareParity(folder).logits;
  expect(initial).toMatchObject({ passed: true });
  expect(initial.excess).toBeUndefined();
});

test('missing steps and logits of another size are errors', () => {
  write('peer.json', { losses: losses.slice(1), rounds: true });
  expect(() => compareParity(folder)).toThrow('4 steps were planned');
  write('peer.json', { losses, rounds: true });
  logits('exact.trained', [3]);
  expect(() => compareParity(folder)).toThrow('equally many');
});

/** Both as far from exact as they may be, in different directions. */
function apart(): void {
  logits('ours.trained', [3.045, 4]);
  logits('peer.trained', [3, 3.966]);
}

function both(values: number[]): void {
  write('ours.json', { losses: values });
  write('peer.json', { losses: values, rounds: true });
}

function write(name: string, value: unknown): void {
  writeFileSync(join(folder, name), JSON.stringify(value));
}

function logits(name: string, values: number[]): void {
  writeFileSync(join(folder, `${name}.logits`), new Uint8Array(Float32Array.from(values).buffer));
}
