// One PPO iteration by its parts on the `tiny` preset (d 256, 6 layers, 8 heads, 4 key-value heads, ff 704, vocabulary 8192).
//   node bench/ppo-iteration.mjs [backend] [rollouts] [prompt tokens] [new tokens]
// Two update epochs of four minibatches; answers run to full length. Writes bench/results/ppo-iteration-<backend>.json.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel, parameterCount } from '@xgen-small/model-core';
import { describeEnvironment, printTable, summarize, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { tinyConfig as config } from '../../../tooling/bench/tiny-config.mjs';
import { runProximalPolicyOptimization } from '../dist/index.js';

const [, , preferred, rollouts = '96', promptTokens = '48', newTokens = '40'] = process.argv;
const iterations = 6;
const backend = await initializeBackend(preferred ? { preferred } : {});
const model = CausalLanguageModel.initialize(config, { seed: 1 });
const folder = mkdtempSync(join(tmpdir(), 'ppo-bench-'));
const rows = [];
await runProximalPolicyOptimization({
  model,
  // Ids as text: what is measured is the loop.
  tokenizer: {
    encodeConversation: () => ({ tokens: [], assistantMask: [] }),
    encodePrompt: ([{ content }]) => content.split(' ').map(Number),
    decode: (tokens) => tokens.join(' '),
    endOfTurnTokens: [],
    vocabularySize: config.vocabularySize,
  },
  prompts: Array.from({ length: 512 }, (_, i) => ({
    prompt: [
      {
        role: 'user',
        content: Array.from({ length: Number(promptTokens) }, (_, t) => (i * 131 + t * 7) % 8192).join(' '),
      },
    ],
  })),
  reward: (_prompt, { text }) => Number(text.split(' ')[0]) / 8192,
  stage: {
    iterations,
    promptsPerIteration: Number(rollouts),
    maximumNewTokens: Number(newTokens),
    learningRate: 1e-6,
    updateEpochs: 2,
    minibatches: 4,
  },
  folder,
  seed: 1,
  checkpoints: { everySeconds: 1e6 },
  onMetrics: (row) => rows.push(row),
});
rmSync(folder, { recursive: true });
model.dispose();

const parts = ['rolloutSeconds', 'scoreSeconds', 'evaluateSeconds', 'updateSeconds', 'stepSeconds'];
const figures = Object.fromEntries(parts.map((part) => [part, summarize(rows.slice(1).map((row) => row[part]))]));
printTable([
  ['part', 'seconds', 'minimum', 'p90'],
  ...parts.map((part) => [part, ...['median', 'minimum', 'p90'].map((key) => figures[part][key])]),
]);
console.log(`largest log-probability mismatch ${Math.max(...rows.map((row) => row.logProbabilityMismatch))}`);
console.log(`peak memory ${(process.resourceUsage().maxRSS / 2 ** 20).toFixed(2)} GiB`);
writeResult(fileURLToPath(new URL(`results/ppo-iteration-${backend.name}.json`, import.meta.url)), {
  case: {
    config,
    parameters: parameterCount(config),
    rollouts: Number(rollouts),
    promptTokens: Number(promptTokens),
    newTokens: Number(newTokens),
  },
  backend,
  environment: describeEnvironment({ folder: fileURLToPath(new URL('..', import.meta.url)) }),
  figures,
});
