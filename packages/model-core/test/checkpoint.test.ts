import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CausalLanguageModel, ModelError, parameterLayout, readSafetensors, RandomGenerator } from '../src/index.js';
import { useBackend } from './support/backends.js';
import { smallConfig } from './support/configs.js';
import { f32, safetensorsBytes, type RawTensor } from './support/safetensors-bytes.js';
import { temporaryFolder } from './support/temporary-folder.js';
import { splitWeights } from './support/weights.js';

const folder = temporaryFolder();
const values = (model: CausalLanguageModel): [string, number[]][] =>
  [...model.parameters].map(([name, variable]) => [name, Array.from(variable.dataSync())]);

async function errorOf(run: Promise<unknown>): Promise<ModelError> {
  const error: unknown = await run.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (ModelError.isInstance(error)) return error;
  throw error;
}

/** The tensors of a model under Hugging Face's names, as another exporter would write them. */
function exported(model: CausalLanguageModel): RawTensor[] {
  const weights = splitWeights(model);
  return parameterLayout(model.config)
    .flatMap(({ parts }) => parts)
    .map(({ name, shape }) => ({ name, dtype: 'F32', shape, bytes: f32(...Array.from(weights(name))) }));
}

describe('checkpoints', () => {
  let model: CausalLanguageModel;
  let tensors: number;

  beforeAll(async () => {
    await useBackend('cpu');
    tensors = tf.memory().numTensors;
    model = CausalLanguageModel.initialize(smallConfig({ eosTokenId: 2, bosTokenId: 0 }), { seed: 21 });
  });
  afterAll(() => {
    model.dispose();
    expect(tf.memory().numTensors).toBe(tensors);
  });

  it('round-trips bit for bit, in one file or in shards', async () => {
    for (const maximumShardBytes of [undefined, 20_000]) {
      const path = folder(`round-trip-${maximumShardBytes}`);
      await model.save(path, { maximumShardBytes });
      const names = await readdir(path);
      expect(names.filter((name) => name.startsWith('.'))).toEqual([]);
      expect(names.includes('model.safetensors.index.json')).toBe(maximumShardBytes !== undefined);
      const loaded = await CausalLanguageModel.load(path);
      expect(loaded.config).toEqual(model.config);
      expect(values(loaded)).toEqual(values(model));
      loaded.dispose();
    }
  });

  it('writes the same bytes for the same seed', async () => {
    const again = CausalLanguageModel.initialize(model.config, { seed: 21 });
    const other = CausalLanguageModel.initialize(model.config, { seed: 22 });
    await Promise.all([model.save(folder('a')), again.save(folder('b')), other.save(folder('c'))]);
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((name) => readFile(folder(name, 'model.safetensors'))));
    expect(a.equals(b)).toBe(true);
    expect(a.equals(c)).toBe(false);
    again.dispose();
    other.dispose();
  });

  it('splits into Hugging Face’s names and shapes, with an index of every tensor', async () => {
    const path = folder('names');
    await model.save(path, { maximumShardBytes: 20_000, dtype: 'bfloat16' });
    const index = JSON.parse(await readFile(folder('names', 'model.safetensors.index.json'), 'utf8')) as {
      metadata: { total_size: number };
      weight_map: Record<string, string>;
    };
    const file = await readSafetensors(path);
    const shapes = Object.fromEntries(
      [...file.entries.values()].map(({ name, dtype, shape }) => [name, [dtype, shape]]),
    );
    await file.close();
    expect(shapes).toMatchObject({
      'model.embed_tokens.weight': ['BF16', [61, 32]],
      'model.layers.1.self_attn.q_proj.weight': ['BF16', [32, 32]],
      'model.layers.1.self_attn.k_proj.weight': ['BF16', [16, 32]],
      'model.layers.1.self_attn.v_proj.weight': ['BF16', [16, 32]],
      'model.layers.0.self_attn.o_proj.weight': ['BF16', [32, 32]],
      'model.layers.0.mlp.gate_proj.weight': ['BF16', [48, 32]],
      'model.layers.0.mlp.down_proj.weight': ['BF16', [32, 48]],
      'model.norm.weight': ['BF16', [32]],
      'lm_head.weight': ['BF16', [61, 32]],
    });
    expect(Object.keys(index.weight_map).sort()).toEqual(Object.keys(shapes).sort());
    const count = Object.values(shapes).reduce(
      (sum, [, shape]) => sum + (shape as number[]).reduce((a, b) => a * b),
      0,
    );
    expect(index.metadata.total_size).toBe(2 * count);
    const config = JSON.parse(await readFile(folder('names', 'config.json'), 'utf8')) as object;
    expect(config).toMatchObject({ architectures: ['LlamaForCausalLM'], torch_dtype: 'bfloat16', head_dim: 8 });
  });

  it('reads a folder that another program wrote, old buffers included', async () => {
    await mkdir(folder('foreign'));
    const buffer = { name: 'model.layers.0.self_attn.rotary_emb.inv_freq', dtype: 'F32', shape: [2], bytes: f32(1, 2) };
    await model.save(folder('for-config'));
    await cp(folder('for-config', 'config.json'), folder('foreign', 'config.json'));
    await writeFile(folder('foreign', 'model.safetensors'), safetensorsBytes([buffer, ...exported(model)].reverse()));
    const progress: number[] = [];
    const loaded = await CausalLanguageModel.load(folder('foreign'), {
      onProgress: ({ completed }) => progress.push(completed),
    });
    expect(values(loaded)).toEqual(values(model));
    expect(progress.at(-1)).toBe(parameterLayout(model.config).length);
    loaded.dispose();
  });

  const damage: [string, (path: string) => Promise<unknown>, string, RegExp][] = [
    ['no config.json', (path) => rm(`${path}/config.json`), 'FILE_NOT_FOUND', /config\.json/],
    ['no weights', (path) => rm(`${path}/model.safetensors`), 'FILE_NOT_FOUND', /model\.safetensors/],
    ['weights cut short', (path) => truncate(`${path}/model.safetensors`, 9000), 'TRUNCATED_FILE', /file ends at 9000/],
    ['empty weights', (path) => truncate(`${path}/model.safetensors`, 0), 'TRUNCATED_FILE', /only 0 bytes/],
    ['half a config.json', (path) => truncate(`${path}/config.json`, 50), 'INVALID_CONFIG', /not JSON/],
  ];
  it.each(damage)('names %s', async (_, harm, code, message) => {
    const path = folder('damaged');
    await rm(path, { recursive: true, force: true });
    await model.save(path);
    await harm(path);
    const error = await errorOf(CausalLanguageModel.load(path));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.remedy).toBeTruthy();
  });

  const lies: [string, (tensors: RawTensor[]) => RawTensor[], string, RegExp][] = [
    ['a missing tensor', (all) => all.slice(1), 'MISSING_TENSOR', /lacks the tensor model\.embed_tokens/],
    ['a missing head', (all) => all.slice(0, -1), 'MISSING_TENSOR', /tie_word_embeddings/],
    [
      'a bias',
      (all) => [...all, { name: 'model.layers.0.self_attn.q_proj.bias', dtype: 'F32', shape: [1], bytes: f32(0) }],
      'UNEXPECTED_TENSOR',
      /q_proj\.bias.*bias are not built/,
    ],
    [
      'a wrong shape',
      (all) => all.map((tensor) => (tensor.shape[0] === 61 ? { ...tensor, shape: [32, 61] } : tensor)),
      'SHAPE_MISMATCH',
      /is \[32, 61\]; config\.json implies \[61, 32\]/,
    ],
    [
      'NaN',
      (all) =>
        all.map((t) => (t.name === 'model.norm.weight' ? { ...t, bytes: f32(...Array<number>(31).fill(1), NaN) } : t)),
      'NOT_FINITE',
      /value 31 of model\.norm\.weight is NaN/,
    ],
  ];
  it.each(lies)('refuses %s, and frees what it had made', async (_, change, code, message) => {
    const path = folder('lying');
    await model.save(path);
    await writeFile(`${path}/model.safetensors`, safetensorsBytes(change(exported(model))));
    const before = tf.memory().numTensors;
    const error = await errorOf(CausalLanguageModel.load(path));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(tf.memory().numTensors).toBe(before);
    if (code === 'NOT_FINITE') (await CausalLanguageModel.load(path, { checkFinite: false })).dispose();
  });

  it('refuses shards and an index of different saves', async () => {
    const path = folder('mixed');
    await model.save(path, { maximumShardBytes: 20_000 });
    const shards = (await readdir(path)).filter((name) => name.startsWith('model-0'));
    await cp(`${path}/${shards[0]}`, `${path}/${shards[1]}`);
    expect((await errorOf(CausalLanguageModel.load(path))).code).toBe('INVALID_CHECKPOINT');
    await rm(`${path}/${shards[1]}`);
    expect((await errorOf(CausalLanguageModel.load(path))).code).toBe('FILE_NOT_FOUND');
  });

  it.each([
    ['an index that leaves the folder', { weight_map: { x: '../x.safetensors' } }, /not to a file beside it/],
    ['an index without a map', {}, /weight_map is missing/],
  ])('refuses %s', async (_, index, message) => {
    const path = folder('bad-index');
    await model.save(path);
    await writeFile(`${path}/model.safetensors.index.json`, JSON.stringify(index));
    const error = await errorOf(CausalLanguageModel.load(path));
    expect(error.code).toBe('INVALID_CHECKPOINT');
    expect(error.message).toMatch(message);
  });

  it('lays extra files beside the model, and refuses names that would harm it', async () => {
    const path = folder('extra');
    await model.save(path, { extraFiles: { 'tokenizer.json': '{"a":1}', 'notes.bin': Uint8Array.of(1, 2) } });
    expect(await readFile(`${path}/tokenizer.json`, 'utf8')).toBe('{"a":1}');
    expect(await readFile(`${path}/notes.bin`)).toEqual(Buffer.of(1, 2));
    for (const name of ['../x', 'a/b', 'config.json', 'model.safetensors', 'model-00001-of-00002.safetensors', '']) {
      expect((await errorOf(model.save(path, { extraFiles: { [name]: '' } }))).code).toBe('INVALID_ARGUMENT');
    }
  });

  it('saving over an older model leaves only the new one, and other files alone', async () => {
    const path = folder('over');
    await model.save(path, { maximumShardBytes: 20_000 });
    await writeFile(`${path}/trainer-state.json`, '{}');
    const other = CausalLanguageModel.initialize(smallConfig({ layers: 1 }), { seed: 2 });
    await other.save(path);
    expect((await readdir(path)).sort()).toEqual(['config.json', 'model.safetensors', 'trainer-state.json']);
    const loaded = await CausalLanguageModel.load(path);
    expect(values(loaded)).toEqual(values(other));
    loaded.dispose();
    await model.save(path, { maximumShardBytes: 40_000 });
    const sharded = await CausalLanguageModel.load(path);
    expect(values(sharded)).toEqual(values(model));
    sharded.dispose();
    other.dispose();
  });

  it('an interrupted save or load leaves things as they were', async () => {
    const path = folder('interrupted');
    const controller = new AbortController();
    const onProgress = (): void => controller.abort();
    expect((await errorOf(model.save(path, { signal: controller.signal, onProgress }))).code).toBe('ABORTED');
    expect((await readdir(folder())).filter((name) => name.includes('interrupted'))).toEqual([]);
    await model.save(path);
    const before = tf.memory().numTensors;
    expect((await errorOf(CausalLanguageModel.load(path, { signal: controller.signal }))).code).toBe('ABORTED');
    expect(tf.memory().numTensors).toBe(before);
  });

  it('a process killed while saving never leaves a mixture', async () => {
    const random = new RandomGenerator(1);
    const loadable: boolean[] = [];
    for (const kind of ['new', 'single', 'sharded']) {
      for (let round = 0; round < 3; round++) {
        const child = spawn(process.execPath, [
          new URL('./support/save-forever.mjs', import.meta.url).pathname,
          folder(`killed-${kind}-${round}`),
          kind,
        ]);
        let output = '';
        child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
        await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
        if (child.exitCode !== null) throw new Error(output);
        await new Promise((resolve) => setTimeout(resolve, 1 + random.uniform() * 60));
        child.kill('SIGKILL');
        await once(child, 'exit');
        const saves =
          kind === 'new'
            ? (await readdir(folder(`killed-${kind}-${round}`))).filter((name) => !name.startsWith('.'))
            : ['model'];
        for (const name of saves) {
          try {
            const loaded = await CausalLanguageModel.load(folder(`killed-${kind}-${round}`, name));
            // Each save fills all parameters with one number: a mixture would show two.
            const numbers = new Set(values(loaded).flatMap(([, numbersOf]) => numbersOf));
            expect(numbers.size).toBe(1);
            loaded.dispose();
            loadable.push(true);
          } catch (error) {
            // Only shards being replaced may be found incomplete, and are then named so.
            expect(kind).toBe('sharded');
            expect(ModelError.isInstance(error) && error.code).toBe('FILE_NOT_FOUND');
          }
        }
      }
    }
    expect(loadable.length).toBeGreaterThan(6);
    // What the killed processes left half-written goes with the next save of the same name.
    for (const path of [folder('killed-single-0', 'model'), folder('killed-sharded-0', 'model')]) {
      await model.save(path);
      expect((await readdir(path)).filter((name) => name.startsWith('.'))).toEqual([]);
    }
  });
});

describe('memory', () => {
  it('holds a model once while loading and saving, whatever the dtype of the file', async () => {
    await useBackend('cpu');
    const config = smallConfig({ hiddenSize: 512, intermediateSize: 1024, layers: 4, vocabularySize: 4096 });
    const model = CausalLanguageModel.initialize(config, { seed: 1 });
    const bytes = [...model.parameters.values()].reduce((sum, { size }) => sum + 4 * size, 0);
    const largest = Math.max(...[...model.parameters.values()].map(({ size }) => 4 * size));
    const settled = (): number => {
      (globalThis as unknown as { gc: () => void }).gc(); // vitest.config.ts exposes it
      return process.memoryUsage().arrayBuffers;
    };
    for (const dtype of ['float32', 'bfloat16'] as const) {
      let before = settled();
      let most = 0;
      const onProgress = (): void => {
        most = Math.max(most, settled() - before);
      };
      await model.save(folder(`memory-${dtype}`), { dtype, onProgress });
      expect(most).toBeLessThan(largest + 16e6);
      most = 0;
      before = settled();
      const loaded = await CausalLanguageModel.load(folder(`memory-${dtype}`), { onProgress });
      expect(most).toBeLessThan(bytes + 16e6);
      expect(most).toBeGreaterThan(0.9 * bytes);
      loaded.dispose();
    }
    expect(bytes).toBeGreaterThan(40e6);
    model.dispose();
  });
});
