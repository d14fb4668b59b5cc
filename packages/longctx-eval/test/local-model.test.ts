import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { CausalLanguageModel, generate, packDocuments } from '@xgen-small/model-core';
import * as tf from '@tensorflow/tfjs-core';
import { localModel, mathAccuracy, needleRetrievalGrid, type Completion } from '../src/index.js';
import { prose } from './fake-models.js';
import { tinyModel, type TinyModel } from './tiny-model.js';

let tiny: TinyModel;
beforeAll(async () => {
  tiny = await tinyModel();
});

const under = (options = {}) => localModel(tiny.model, tiny.tokenizer, { chatTemplate: tiny.chatTemplate, ...options });

describe('localModel', () => {
  it('continues text greedily as the model does, whatever else is in the batch', async () => {
    const prompts = prose.map((text, i) => text.slice(0, 40 + i * 7));
    const together = await under().generate(prompts, { maximumNewTokens: 12 });
    for (const [i, prompt] of prompts.entries()) {
      const [{ tokens, finishReason }] = await generate(tiny.model, [
        {
          promptTokens: tiny.tokenizer.encode(prompt),
          maximumNewTokens: 12,
          stopTokens: [...tiny.chatTemplate.endOfTurnTokens],
        },
      ]);
      const text = tiny.tokenizer.decode(finishReason === 'stop' ? tokens.slice(0, -1) : tokens, { skipSpecial: true });
      expect(together[i]).toMatchObject({ text, finishReason, completionTokens: tokens.length });
    }
  });

  it('samples by the seed of each prompt, not by its place', async () => {
    const model = under();
    const options = { maximumNewTokens: 10, temperature: 1 };
    const [a, b, c] = await model.generate(['The old', 'The old', 'The old'], { ...options, seeds: [1, 2, 1] });
    expect(a.text).toBe(c.text);
    expect(a.text).not.toBe(b.text);
    const [alone] = await model.generate(['The old'], { ...options, seeds: [2] });
    expect(alone.text).toBe(b.text);
  });

  it('ends before a stop string, and reports each completion once, as it is done', async () => {
    const [{ text }] = await under().generate(['The old clock'], { maximumNewTokens: 30 });
    expect(text.length).toBeGreaterThan(8);
    const stop = text.slice(3, 6);
    const reported: [number, Completion][] = [];
    const completions = await under().generate(['The old clock', 'Nobody'], {
      maximumNewTokens: 30,
      stop: [stop],
      onCompletion: (index, completion) => reported.push([index, completion]),
    });
    expect(completions[0]).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finishReason: 'stop' });
    expect(reported.map(([index]) => index).sort()).toEqual([0, 1]);
    for (const [index, completion] of reported) expect(completion).toBe(completions[index]);
  });

  it('puts messages through the chat template, and counts them with it', async () => {
    const messages = [{ role: 'user' as const, content: 'Nobody forgets' }];
    const [{ promptTokens }] = await under().generate([messages], { maximumNewTokens: 1 });
    expect(promptTokens).toBe(tiny.chatTemplate.encodePrompt(messages).length);
    expect(under().countTokens(messages)).toBe(promptTokens);
    expect(under().countTokens('Nobody')).toBe(tiny.tokenizer.encode('Nobody').length);
    const bare = localModel(tiny.model, tiny.tokenizer);
    await expect(bare.generate([messages], { maximumNewTokens: 1 })).rejects.toThrow('chat template');
  });

  it('scores continuations as the sum of their log-probabilities', async () => {
    const pairs = [
      { prompt: 'The harbour', continuation: ' remembers the narrow bridge' },
      { prompt: 'Nobody', continuation: ' forgets' },
    ];
    const scores = await under().logProbabilities(pairs);
    for (const [i, { prompt, continuation }] of pairs.entries()) {
      const head = Array.from(tiny.tokenizer.encode(prompt));
      const tail = Array.from(tiny.tokenizer.encode(continuation));
      // By way of all logits and a softmax in float64 here.
      const hidden = tiny.model.hiddenStates(packDocuments([[...head, ...tail]]));
      const logits = tiny.model.logits(hidden);
      const rows = await logits.array();
      tf.dispose([hidden, logits]);
      let expected = 0;
      tail.forEach((token, t) => {
        const row = rows[head.length + t - 1];
        const top = Math.max(...row);
        expected += row[token] - top - Math.log(row.reduce((sum, value) => sum + Math.exp(value - top), 0));
      });
      expect(scores[i].tokens).toBe(tail.length);
      expect(scores[i].logProbability).toBeCloseTo(expected, 3);
    }
    await expect(under().logProbabilities([{ prompt: '', continuation: 'x' }])).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    });
  });

  it('keeps the event loop turning, stops on its signal, and leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    const endless = under({ stopTokens: [] }).generate(new Array<string>(8).fill('The old clock'), {
      maximumNewTokens: 480,
      signal: controller.signal,
    });
    await expect(endless).rejects.toMatchObject({ code: 'ABORTED' });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('never continues the log of another model of the same name', async () => {
    const outputFolder = await mkdtemp(path.join(tmpdir(), 'xgen-identity-'));
    const problems = [{ id: 'a', question: 'Nobody?', answer: 1 }];
    const run = (model: CausalLanguageModel) =>
      mathAccuracy({
        model: localModel(model, tiny.tokenizer, { chatTemplate: tiny.chatTemplate }),
        problems,
        maximumNewTokens: 2,
        outputFolder,
      });
    await run(tiny.model);
    await run(tiny.model);
    const other = CausalLanguageModel.initialize(tiny.model.config, { seed: 12, standardDeviation: 0.3 });
    const stretched = tiny.model.withRope({ base: 20_000 }, 512);
    for (const model of [other, stretched]) {
      await expect(run(model)).rejects.toMatchObject({
        code: 'LOG_MISMATCH',
        value: ['weights or configuration of the model'],
      });
      model.dispose();
    }
    await rm(outputFolder, { recursive: true });
  });

  it('says how much too long a prompt is', async () => {
    const long = under().generate([prose.join(' ')], { maximumNewTokens: 5 });
    await expect(long).rejects.toMatchObject({ code: 'CONTEXT_TOO_SHORT' });
  });

  it('fills its context to the last position in a needle grid', async () => {
    const { records, overall } = await needleRetrievalGrid({
      model: under(),
      haystack: prose,
      lengths: [256, 512],
      depths: [0, 1],
      samples: 2,
      maximumNewTokens: 8,
    });
    expect(records.map(({ promptTokens }) => promptTokens)).toEqual([248, 248, 248, 248, 504, 504, 504, 504]);
    expect(overall.count).toBe(8);
  });
});
