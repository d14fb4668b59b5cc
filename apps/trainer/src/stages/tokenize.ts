/**
 * Tokenizer and token shards: BPE is learned from curated text (the same number of bytes a domain), then the training and
 * held-out documents become shards, and the generated documents (retrieval, repetition) become shards of their own.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { repetitionDocuments, retrievalDocuments } from '@xgen-small/data-curation';
import {
  chatMlTemplate,
  tokenizeCorpus,
  Tokenizer,
  trainBytePairEncoding,
  writeTokenizerFolder,
} from '@xgen-small/tokenizer';
import type { GeneratedDocuments } from '../recipe/recipe-schema.js';
import type { PipelineStage, StageContext } from '../run/stage-context.js';
import { formatCount } from '../terminal/format.js';
import { balancedTexts, readDocumentTexts } from './curated-documents.js';
import { filesOfFolder } from './model-files.js';
import { relativeTo } from './paths.js';
import { retrievalTemplates, retrievalValues } from './retrieval-vocabulary.js';

export const tokenizeStage: PipelineStage = {
  id: 'tokenize',
  title: 'Train the tokenizer, tokenize',
  requires: ['curate'],
  async run(context) {
    const { recipe, run, signal, onProgress, workers } = context;
    const curated = context.finished('curate').summary as { shards: string[]; heldout: string[] };
    const shards = curated.shards.map((path) => run.folder(path));
    const heldout = curated.heldout.map((path) => run.folder(path));
    const folder = run.folder('tokenize', 'tokenizer');
    if (!existsSync(join(folder, 'tokenizer_config.json'))) {
      const definition = await trainBytePairEncoding(balancedTexts(shards, recipe.tokenizer.trainingBytesPerDomain), {
        vocabularySize: recipe.tokenizer.vocabularySize,
        preTokenizer: recipe.tokenizer.preTokenizer,
        workers,
        signal,
        onProgress,
      });
      await writeTokenizerFolder(folder, definition, { chatTemplate: chatMlTemplate });
    }
    const tokenizer = await Tokenizer.load(folder);
    if (tokenizer.vocabularySize !== recipe.tokenizer.vocabularySize) {
      context.display.line(
        `      The text gave ${tokenizer.vocabularySize} of ${recipe.tokenizer.vocabularySize} tokens; the rest of the vocabulary stays unused.`,
      );
    }
    const trainShards = run.folder('tokenize', 'train');
    const heldoutShards = run.folder('tokenize', 'heldout');
    const common = { tokenizer, workers, signal, onProgress };
    const train = await tokenizeCorpus({ ...common, parquetFiles: shards, outputFolder: trainShards });
    const held = await tokenizeCorpus({ ...common, parquetFiles: heldout, outputFolder: heldoutShards });
    const outputs = [
      ...(await filesOfFolder(folder)),
      ...(await filesOfFolder(trainShards)),
      ...(await filesOfFolder(heldoutShards)),
    ];
    let generatedShards: string | undefined;
    if (recipe.generatedDocuments.length > 0) {
      generatedShards = run.folder('tokenize', 'generated');
      const fillers = await readDocumentTexts(shards, {
        domains: ['documentation', 'code'],
        maximumCharacters: 4_000_000,
      });
      await tokenizeCorpus({
        ...common,
        rows: generatedRows(context, fillers, tokenizer),
        outputFolder: generatedShards,
      });
      outputs.push(...(await filesOfFolder(generatedShards)));
    }
    return {
      outputs,
      summary: {
        tokenizer: relativeTo(run, folder),
        trainShards: relativeTo(run, trainShards),
        heldoutShards: relativeTo(run, heldoutShards),
        ...(generatedShards === undefined ? {} : { generatedShards: relativeTo(run, generatedShards) }),
        vocabularySize: tokenizer.vocabularySize,
        tokens: train.tokens,
        documents: train.documents,
        domains: train.domainStatistics,
        heldout: held.domainStatistics,
      },
      headline: `${formatCount(tokenizer.vocabularySize)} tokens in the vocabulary, ${formatCount(train.tokens)} tokens to train on`,
    };
  },
};

/** Rows for the shards of generated documents; a pure function of the recipe, the filler and the tokenizer. */
async function* generatedRows(context: StageContext, fillers: readonly string[], tokenizer: Tokenizer) {
  const { recipe, signal } = context;
  const measure = (text: string): number => tokenizer.encode(text).length;
  for (const [index, options] of recipe.generatedDocuments.entries()) {
    for (const { text } of documentsOf(options, recipe.seed * 1000 + index, fillers, measure)) {
      signal.throwIfAborted();
      yield { text, domain: options.domain, quality: 1, weight: 1 };
    }
  }
}

function documentsOf(
  options: GeneratedDocuments,
  seed: number,
  texts: readonly string[],
  measure: (text: string) => number,
): Iterable<{ text: string }> {
  // One token is the end of the document, which the shards add.
  const length = options.tokens && ([options.tokens[0] - 1, options.tokens[1] - 1] as const);
  if (options.type === 'repetition') {
    return repetitionDocuments({ seed, count: options.documents, passagesFrom: texts, length: length!, measure });
  }
  return retrievalDocuments({
    seed,
    count: options.documents,
    filler: texts,
    length,
    measure,
    fillWhole: options.fillWhole,
    facts: options.facts,
    questions: options.questions,
    templates: retrievalTemplates,
    values: retrievalValues,
  });
}
