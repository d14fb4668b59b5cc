/**
 * Evaluation: held-out loss by domain against unigram and bigram baselines on the same tokens, needle retrieval before and
 * after extension, maths accuracy after SFT, DPO and each seed of PPO. Each part is logged sample by sample, so a rerun continues.
 */
import { mkdir } from 'node:fs/promises';
import { CausalLanguageModel, writeFileAtomic } from '@xgen-small/model-core';
import {
  localModel,
  mathAccuracy,
  needleRetrievalGrid,
  ngramBaselines,
  type TokenStream,
} from '@xgen-small/longctx-eval';
import { evaluateLoss, type TokenDocumentSource } from '@xgen-small/pretrain';
import { TokenShardReader } from '@xgen-small/tokenizer';
import type { EvaluationSummary } from '../report/claims.js';
import { baseContextLength, extendedContextLength } from '../recipe/recipe-schema.js';
import type { PipelineStage, StageContext } from '../run/stage-context.js';
import { formatPercent } from '../terminal/format.js';
import { loadTokenizer, plainMessages } from './model-files.js';
import { mathsProblems } from './maths-data.js';
import { needleTemplate, retrievalNames, retrievalValues } from './retrieval-vocabulary.js';
import { readDocumentTexts } from './curated-documents.js';

export const evaluateStage: PipelineStage = {
  id: 'eval',
  title: 'Evaluate',
  requires: ['curate', 'tokenize', 'pretrain', 'extend', 'sft', 'dpo', 'ppo'],
  async run(context) {
    const { run } = context;
    await mkdir(run.folder('eval'), { recursive: true });
    const summary = {
      losses: await heldOutLosses(context),
      needle: await needleBeforeAndAfter(context),
      maths: await mathsByStage(context),
    };
    const file = run.folder('eval', 'results.json');
    await writeFileAtomic(file, `${JSON.stringify(summary, null, 2)}\n`);
    const { maths } = summary;
    return {
      outputs: [file],
      summary,
      headline: `maths ${maths.map(({ name, sampled }) => `${name} ${formatPercent(sampled.mean)}`).join(', ')}`,
    };
  },
};

/** Tokens of one forward: long prompts are read in pieces of this size, which keeps a GPU busy. */
const maximumBatchTokens = 2048;
/** Answers that are written side by side: a step of decoding costs about as much for one as for all of them. */
const answersAtOnce = 256;

async function withModel<T>(
  context: StageContext,
  folder: string,
  use: (model: CausalLanguageModel) => Promise<T>,
): Promise<T> {
  const model = await CausalLanguageModel.load(context.run.folder(folder), { signal: context.signal });
  try {
    return await use(model);
  } finally {
    model.dispose();
  }
}

/** Loss by domain of the pre-trained and the extended model, and n-gram baselines on exactly the tokens they were scored on. */
async function heldOutLosses(context: StageContext) {
  const { recipe, run, signal, onProgress } = context;
  const shards = context.finished('tokenize').summary as { heldoutShards: string; trainShards: string };
  const heldOut = await TokenShardReader.open(run.folder(shards.heldoutShards));
  const train = await TokenShardReader.open(run.folder(shards.trainShards));
  try {
    const contextLength = baseContextLength(recipe);
    const models: Record<string, Record<string, number>> = {};
    let scored: Record<string, { tokens: number }> = {};
    for (const stage of ['pretrain', 'extend'] as const) {
      const { model: folder } = context.finished(stage).summary as { model: string };
      const { domains } = await withModel(context, folder, (model) =>
        evaluateLoss({
          model,
          data: heldOut,
          contextLength,
          maximumTokensPerDomain: recipe.evaluation.tokensPerDomain,
          signal,
          onProgress,
        }),
      );
      models[stage] = Object.fromEntries(Object.entries(domains).map(([domain, { loss }]) => [domain, loss]));
      scored = domains;
    }
    const baselines = ngramBaselines({
      vocabularySize: recipe.tokenizer.vocabularySize,
      train: await domainStreams(train, { contextLength }),
      heldOut: await domainStreams(heldOut, { contextLength, maximumTokens: recipe.evaluation.tokensPerDomain }),
      signal,
    });
    return {
      contextLength,
      uniform: baselines.uniform,
      domains: Object.fromEntries(
        Object.entries(baselines.domains).map(([domain, { unigram, bigram, tokens }]) => [
          domain,
          {
            tokens,
            scoredTokens: scored[domain]?.tokens,
            unigram,
            bigram,
            pretrain: models.pretrain[domain],
            extend: models.extend[domain],
          },
        ]),
      ),
    };
  } finally {
    heldOut.close();
    train.close();
  }
}

/** Tokens of each domain end to end, with the borders where the model saw a new context begin. */
async function domainStreams(
  reader: TokenShardReader,
  options: { contextLength: number; maximumTokens?: number },
): Promise<Record<string, TokenStream>> {
  const source: TokenDocumentSource = reader;
  const parts = source.domains.map(() => ({ tokens: [] as number[], offsets: [0] }));
  for (let document = 0; document < source.documentCount; document++) {
    const part = parts[source.documentDomain(document)];
    const length = source.documentLength(document);
    for (let start = 0; start < length; start += options.contextLength) {
      if (options.maximumTokens !== undefined && part.tokens.length >= options.maximumTokens) break;
      for (const token of await source.readTokens(document, start, Math.min(length, start + options.contextLength))) {
        part.tokens.push(token);
      }
      part.offsets.push(part.tokens.length);
    }
  }
  return Object.fromEntries(
    source.domains.map((domain, i) => [
      domain,
      { tokens: Int32Array.from(parts[i].tokens), documentOffsets: parts[i].offsets },
    ]),
  );
}

/** The grid of the pre-trained model (its own RoPE and context) and of the extended one, on the same prompts. */
async function needleBeforeAndAfter(context: StageContext) {
  const { recipe, run, signal, onProgress } = context;
  const { tokenizer } = await loadTokenizer(context);
  const { heldout } = context.finished('curate').summary as { heldout: string[] };
  const haystack = await readDocumentTexts(
    heldout.map((file) => run.folder(file)),
    { domains: ['documentation'], maximumCharacters: 400_000 },
  );
  const results: Record<string, unknown> = {};
  for (const [name, stage] of [
    ['before', 'pretrain'],
    ['after', 'extend'],
  ] as const) {
    const { model: folder } = context.finished(stage).summary as { model: string };
    const result = await withModel(context, folder, async (model) => {
      // Asked beyond its training length on purpose: that is what extension has to change.
      const reach = model.withRope(
        model.config.rope,
        Math.max(model.config.maximumPositions, extendedContextLength(recipe)),
      );
      try {
        return await needleRetrievalGrid({
          model: localModel(reach, tokenizer, { name: stage, maximumBatchTokens }),
          haystack,
          template: needleTemplate,
          keys: retrievalNames,
          values: retrievalValues,
          lengths: recipe.evaluation.needle.lengths,
          depths: recipe.evaluation.needle.depths,
          samples: recipe.evaluation.needle.samples,
          seed: recipe.seed,
          maximumNewTokens: 8,
          stop: ['.', '\n'],
          scoring: 'exact',
          task: `needle-${name}`,
          outputFolder: run.folder('eval', 'needle'),
          signal,
          onProgress,
        });
      } finally {
        reach.dispose();
      }
    });
    const { lengths, depths, matrix, byLength, overall } = result;
    results[name] = { lengths, depths, matrix, byLength, overall };
  }
  return results as Record<
    'before' | 'after',
    Pick<Awaited<ReturnType<typeof needleRetrievalGrid>>, 'lengths' | 'depths' | 'matrix' | 'byLength' | 'overall'>
  >;
}

/** Accuracy on held-out problems, stage by stage: sampled as PPO trains (temperature 1), and greedy. */
async function mathsByStage(context: StageContext) {
  const { recipe, run, signal, onProgress } = context;
  const parts = await loadTokenizer(context);
  const problems = mathsProblems(recipe, 'evaluation', recipe.evaluation.mathProblems);
  const ppo = context.finished('ppo').summary as { runs: { seed: number; model: string }[] };
  const models: { name: string; folder: string }[] = [
    ...(['sft', 'dpo'] as const).map((stage) => ({
      name: stage,
      folder: (context.finished(stage).summary as { model: string }).model,
    })),
    ...ppo.runs.map(({ seed, model }) => ({ name: `ppo-seed-${seed}`, folder: model })),
  ];
  const { mathSamples } = recipe.evaluation;
  const chatTemplate = plainMessages(parts.chatTemplate);
  const longest = Math.max(
    ...problems.map(({ question }) => chatTemplate.encodePrompt([{ role: 'user', content: question }]).length),
  );
  // A block of 16 more for each, which the engine keeps free while answers grow.
  const cacheTokens =
    Math.min(answersAtOnce, problems.length * mathSamples) * (longest + recipe.maths.maximumNewTokens + 2 * 16);
  const rows: EvaluationSummary['maths'] = [];
  for (const { name, folder } of models) {
    rows.push(
      await withModel(context, folder, async (model) => {
        const common = {
          model: localModel(model, parts.tokenizer, {
            chatTemplate,
            name,
            maximumBatchTokens,
            cacheTokens,
          }),
          problems,
          maximumNewTokens: recipe.maths.maximumNewTokens,
          extraction: 'marked' as const,
          outputFolder: run.folder('eval', 'maths'),
          signal,
          onProgress,
        };
        const sampled = await mathAccuracy({
          ...common,
          task: `maths-sampled-${name}`,
          samplesPerProblem: mathSamples,
          batchSize: Math.max(1, Math.floor(answersAtOnce / mathSamples)),
          temperature: recipe.ppo.stage.temperature,
          seed: recipe.seed,
        });
        const greedy = await mathAccuracy({ ...common, task: `maths-greedy-${name}`, batchSize: answersAtOnce });
        return { name, sampled: sampled.accuracy, greedy: greedy.accuracy };
      }),
    );
  }
  return rows;
}
