/** Documents for tests: token ids that say which document and position they came from, or a small learnable language. */
import { RandomGenerator } from '@xgen-small/model-core';
import { memoryDocumentSource, type MemoryDocument } from '../src/data/memory-source';
import type { TokenDocumentSource } from '../src/data/document-source';
import { parsePretrainStage } from '../src/stage/parse-stage';
import type { PretrainStage, PretrainStageInput } from '../src/stage/stage';

/** Vocabulary of `tracedDocuments`: enough for 4,096 documents of up to 4,096 tokens. */
export const tracedVocabularySize = 2 ** 24;

/** Token i of document d is d · 4096 + i, so that every packed token shows where it came from. */
export function tracedDocuments(
  documents: readonly (Partial<MemoryDocument> & { length: number })[],
): TokenDocumentSource {
  return memoryDocumentSource(
    documents.map(({ length, domain = 'text', ...rest }, document) => ({
      domain,
      ...rest,
      tokens: Int32Array.from({ length }, (_, i) => document * 4096 + i),
    })),
    { vocabularySize: tracedVocabularySize },
  );
}

export function stageOf(input: Partial<PretrainStageInput>): PretrainStage {
  const length = input.steps === undefined && input.tokens === undefined ? { steps: 10 } : {};
  return parsePretrainStage({
    name: 'test',
    contextLength: 16,
    tokensPerStep: 64,
    learningRate: { type: 'warmupStableDecay', peak: 1e-2 },
    mixture: { text: { share: 1 } },
    ...length,
    ...input,
  });
}

/**
 * Sentences of a tiny language that a model can learn: each document counts through the vocabulary in its own stride, in two
 * domains. Token 0 begins and ends documents.
 */
export function countingDocuments({
  documents = 40,
  vocabularySize = 32,
  seed = 1,
  minimumLength = 12,
  maximumLength = 60,
} = {}): MemoryDocument[] {
  const random = new RandomGenerator(seed);
  return Array.from({ length: documents }, (_, i) => {
    const stride = 1 + (i % 3);
    const length = minimumLength + random.integer(maximumLength - minimumLength + 1);
    const start = random.integer(vocabularySize - 1);
    const tokens = Array.from({ length: length - 1 }, (_, j) => 1 + ((start + j * stride) % (vocabularySize - 1)));
    return { tokens: [...tokens, 0], domain: i % 2 === 0 ? 'even' : 'odd', quality: random.uniform() };
  });
}
