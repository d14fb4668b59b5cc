/** A model's parameters under Hugging Face's names, split by the test's own slicing. */
import type { CausalLanguageModel } from '../../src/index.js';
import type { Weights } from './reference-decoder.js';

export function splitWeights(model: CausalLanguageModel): Weights {
  const { headDimension: hd, queryHeads, keyValueHeads, hiddenSize: D, intermediateSize: F } = model.config;
  const table = new Map<string, Float32Array>();
  for (const [name, variable] of model.parameters) {
    const values = variable.dataSync() as Float32Array;
    if (name.endsWith('qkv_proj.weight')) {
      const q = queryHeads * hd * D;
      const k = keyValueHeads * hd * D;
      table.set(name.replace('qkv_proj', 'q_proj'), values.slice(0, q));
      table.set(name.replace('qkv_proj', 'k_proj'), values.slice(q, q + k));
      table.set(name.replace('qkv_proj', 'v_proj'), values.slice(q + k));
    } else if (name.endsWith('gate_up_proj.weight')) {
      table.set(name.replace('gate_up_proj', 'gate_proj'), values.slice(0, F * D));
      table.set(name.replace('gate_up_proj', 'up_proj'), values.slice(F * D));
    } else {
      table.set(name, values);
    }
  }
  return (name) => {
    const values = table.get(name);
    if (values === undefined) throw new Error(`no weight ${name}`);
    return values;
  };
}
