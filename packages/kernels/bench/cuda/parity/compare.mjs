// Whether two training runs and their logits agree: reads what both sides wrote (parity.mjs has the files), computes in float64.
//
// Losses: |ours − peer| / |peer| at every step. Logits, at the initial weights and at those that our run ended with: ‖ours − peer‖ / ‖peer‖,
// and both against the peer in float32.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readAll } from './safetensors.mjs';

export const limits = {
  /** Of the loss, relative, at every step. */
  loss: 0.005,
  /** Of the logits, relative in the Euclidean norm. */
  logits: 0.01,
  /** How many times as far from float32 as the peer's our logits may be. */
  excess: 1.5,
};

/** What the comparison found: `passed`, and each figure with its limit. */
export function compareParity(folder) {
  const read = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
  const [plan, ours, peer] = ['plan.json', 'ours.json', 'peer.json'].map(read);
  const losses = compareLosses(ours.losses, peer.losses, plan);
  const logits = ['initial', 'trained'].map((weights) => {
    const file = (side) => join(folder, `${side}.${weights}.logits`);
    return { weights, ...judgeLogits(compareLogits(file('ours'), file('peer'), file('exact')), peer.rounds) };
  });
  const { preset, sequences, length, steps, rows, settings } = plan;
  return {
    passed: losses.passed && logits.every(({ passed }) => passed),
    plan: { preset, sequences, length, steps, rowsOfLogits: rows.length, ...settings },
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
  const differences = ours.map((loss, i) => Math.abs(loss - peer[i]) / Math.abs(peer[i]));
  // NaN is worse than anything, and Math.max lets it win.
  const worst = Math.max(...differences);
  const step = 1 + differences.findIndex((difference) => Object.is(difference, worst));
  const fall = 1 - ours.at(-1) / ours[0];
  return {
    passed: worst <= limits.loss && fall >= minimumFall,
    worst,
    step,
    limit: limits.loss,
    mean: differences.reduce((sum, difference) => sum + difference, 0) / steps,
    first: { ours: ours[0], peer: peer[0] },
    last: { ours: ours.at(-1), peer: peer.at(-1) },
    fall,
    minimumFall,
  };
}

/** Relative distances between three files of float32 logits: { oursToPeer, oursToExact, peerToExact }. */
export function compareLogits(oursFile, peerFile, exactFile) {
  const descriptors = [];
  try {
    for (const file of [oursFile, peerFile, exactFile]) descriptors.push(openSync(file, 'r'));
    const sizes = descriptors.map((descriptor) => fstatSync(descriptor).size);
    if (sizes[0] === 0 || sizes.some((size) => size !== sizes[0]))
      throw new Error(`The files of logits have ${sizes.join(', ')} bytes; they must have equally many.`);
    const sums = { oursToPeer: 0, oursToExact: 0, peerToExact: 0, peer: 0, exact: 0 };
    const chunk = 4 * 2 ** 20;
    for (let position = 0; position < sizes[0]; position += chunk) {
      const count = Math.min(chunk, sizes[0] - position) / 4;
      const [ours, peer, exact] = descriptors.map((descriptor) =>
        readAll(descriptor, new Float32Array(count), position),
      );
      for (let i = 0; i < count; i++) {
        sums.oursToPeer += (ours[i] - peer[i]) ** 2;
        sums.oursToExact += (ours[i] - exact[i]) ** 2;
        sums.peerToExact += (peer[i] - exact[i]) ** 2;
        sums.peer += peer[i] ** 2;
        sums.exact += exact[i] ** 2;
      }
    }
    return {
      oursToPeer: Math.sqrt(sums.oursToPeer / sums.peer),
      oursToExact: Math.sqrt(sums.oursToExact / sums.exact),
      peerToExact: Math.sqrt(sums.peerToExact / sums.exact),
    };
  } finally {
    descriptors.forEach(closeSync);
  }
}

/** `peerRounds`: the peer computed in bfloat16; where it didn't, there is nothing to compare our distance from float32 with. */
export function judgeLogits(distances, peerRounds) {
  const { oursToPeer, oursToExact, peerToExact } = distances;
  const judged = { ...distances, limit: limits.logits };
  let passed = oursToPeer <= limits.logits;
  if (peerRounds) {
    judged.excess = oursToExact / peerToExact;
    judged.excessLimit = limits.excess;
    passed &&= judged.excess <= limits.excess;
  }
  return { passed, ...judged };
}
