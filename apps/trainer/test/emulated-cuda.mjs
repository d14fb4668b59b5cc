/**
 * Preloaded into `xgen` with `node --import`: where the program imports @xgen-small/kernels it gets the copy in EMULATED_KERNELS, a folder
 * in which the emulated device's addon lies under the name of the real one. So the program runs as on a GPU and knows nothing of it.
 * At the end what is still alive goes to EMULATED_REPORT, with the warnings that were given.
 */
import { writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { EMULATED_KERNELS: folder, EMULATED_ORIGINAL: original, EMULATED_REPORT: report } = process.env;
const data = { staged: pathToFileURL(join(folder, 'dist')).href, original: pathToFileURL(original).href };
register('./emulated-cuda-resolution.mjs', import.meta.url, { data });

const warnings = [];
process.on('warning', ({ name, message }) => warnings.push(`${name}: ${message}`));
const { deviceMemory } = await import('@xgen-small/kernels');
const { engine } = await import('@tensorflow/tfjs-core');
process.on('exit', () => {
  const { byOperation = [], peakLiveBytes = 0 } = deviceMemory() ?? {};
  const held = byOperation.map(({ name }) => name);
  writeFileSync(report, JSON.stringify({ tensors: engine().memory().numTensors, held, peakLiveBytes, warnings }));
});
