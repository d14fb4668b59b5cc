// Whether two training runs and their logits agree: reads what both sides wrote (parity.mjs has the files), computes in float64.
//
// Losses: |ours − peer| / |peer| at every step. Logits, at the initial weights and at those that our run ended with, against exact ones: what the peer
// computes in float32 from the same weights, rounded to bfloat16 as both sides round them. So the distance is what rounding activations does, and
// the limit that of any operation in bfloat16. ‖ours − peer‖ / ‖peer‖ has the rounding of both sides: where the peer computed the same in two ways, we
// must be no farther from it than it is from itself.
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readAll } from './safetensors.mjs';

export const limits = {
  /** Of the loss, relative, at every step. */
  loss: 0.005,
  /** Of the logits, from exact ones, relative in the Euclidean norm. From the peer's as well, unless it is farther from itself. */
  logits: 0.01,
  /** How many times as far from exact as the peer's our logits may be. */
  excess: 1.5,
};

/** What the comparison found: `passed`, and each figure with its limit. */
export function compareParity(folder) {
  const read = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
  const [plan, ours, peer] = ['plan.json', 'ours.json', 'peer.json'].map(read);
  const losses = compareLosses(ours.losses, peer.losses, plan);
  // What rounding alone does: the peer's own two ways of computing the same in bfloat16. Reported, not judged.
  if (existsSync(join(folder, 'again.json'))) losses.peerToItself = worstOf(read('again.json').losses, peer.losses);
  const logits = ['initial', 'trained'].map((weights) => {
    const file = (side) => join(folder, `${side}.${weights}.logits`);
    const distances = {
      oursToPeer: distance(file('ours'), file('peer')),
      oursToExact: distance(file('ours'), file('exact')),
      peerToExact: distance(file('peer'), file('exact')),
      // With what rounding the weights does.
      oursToFloat32: distance(file('ours'), file('float32')),
      peerToFloat32: distance(file('peer'), file('float32')),
      ...(existsSync(file('again')) ? { peerToItself: distance(file('again'), file('peer')) } : {}),
    };
    return { weights, ...judgeLogits(distances, peer.rounds) };
  });
  const { preset, sequences, length, steps, rows, peakRate, settings } = plan;
  return {
    passed: losses.passed && logits.every(({ passed }) => passed),
    plan: { preset, sequences, length, steps, rowsOfLogits: rows.length, peakRate, ...settings },
    ours: describe(ours),
    peer: describe(peer),
    losses,
    logits,
  };
}

function describe({ name, precision, seconds }) {
  return { name, precision, seconds };
}

/** Two lists of losses, one a step. `minimumFall`: by what share of its first value ours must have fallen, or the test would say little. */
export function compareLosses(ours, peer, { steps, minimumFall }) {
  if (ours.length !== steps || peer.length !== steps)
    throw new Error(
      `${steps} steps were planned, but there are ${ours.length} losses of ours and ${peer.length} of the peer.`,
    );
  const { worst, step, mean } = worstOf(ours, peer);
  const fall = 1 - ours.at(-1) / ours[0];
  return {
    passed: worst <= limits.loss && fall >= minimumFall,
    worst,
    step,
    limit: limits.loss,
    mean,
    first: { ours: ours[0], peer: peer[0] },
    last: { ours: ours.at(-1), peer: peer.at(-1) },
    fall,
    minimumFall,
  };
}

/** The largest and the mean difference of two lists of losses, relative to the second's; `step`: where it is largest, from 1. */
function worstOf(first, second) {
  const differences = first.map((loss, i) => Math.abs(loss - second[i]) / Math.abs(second[i]));
  // NaN is worse than anything, and Math.max lets it win.
  const worst = Math.max(...differences);
  const step = 1 + differences.findIndex((difference) => Object.is(difference, worst));
  return { worst, step, mean: differences.reduce((sum, difference) => sum + difference, 0) / differences.length };
}

/** ‖first − second‖ / ‖second‖ of two files of float32 numbers. */
export function distance(firstFile, secondFile) {
  const descriptors = [];
  try {
    for (const file of [firstFile, secondFile]) descriptors.push(openSync(file, 'r'));
    const [size, other] = descriptors.map((descriptor) => fstatSync(descriptor).size);
    if (size === 0 || size !== other)
      throw new Error(`${firstFile} has ${size} bytes, ${secondFile} ${other}; they must have equally many.`);
    let [difference, norm] = [0, 0];
    const chunk = 4 * 2 ** 20;
    for (let position = 0; position < size; position += chunk) {
      const count = Math.min(chunk, size - position) / 4;
      const [first, second] = descriptors.map((descriptor) => readAll(descriptor, new Float32Array(count), position));
      for (let i = 0; i < count; i++) {
        difference += (first[i] - second[i]) ** 2;
        norm += second[i] ** 2;
      }
    }
    return Math.sqrt(difference / norm);
  } finally {
    descriptors.forEach((descriptor) => closeSync(descriptor));
  }
}

/** `peerRounds`: the peer computed in bfloat16; where it didn't, there is nothing to compare our distance from exact logits with. */
export function judgeLogits(distances, peerRounds) {
  const { oursToPeer, oursToExact, peerToExact, peerToItself = 0 } = distances;
  const judged = { ...distances, limit: limits.logits, peerLimit: Math.max(limits.logits, peerToItself) };
  let passed = oursToExact <= judged.limit && oursToPeer <= judged.peerLimit;
  if (peerRounds) {
    judged.excess = oursToExact / peerToExact;
    judged.excessLimit = limits.excess;
    passed &&= judged.excess <= limits.excess;
  }
  return { passed, ...judged };
}
