/** A tiny random model with a tokenizer of its own. */

import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel } from '@xgen-small/model-core';
import { ChatTemplate, Tokenizer, trainBytePairEncoding } from '@xgen-small/tokenizer';
import { prose } from './fake-models.js';

export interface TinyModel {
  model: CausalLanguageModel;
  tokenizer: Tokenizer;
  chatTemplate: ChatTemplate;
}

let made: Promise<TinyModel> | undefined;

export function tinyModel(): Promise<TinyModel> {
  made ??= (async () => {
    await initializeBackend();
    const definition = await trainBytePairEncoding(prose, { vocabularySize: 512, workers: 0 });
    const tokenizer = Tokenizer.fromDefinition(definition);
    const model = CausalLanguageModel.initialize(
      {
        vocabularySize: tokenizer.vocabularySize,
        hiddenSize: 32,
        intermediateSize: 64,
        layers: 2,
        queryHeads: 4,
        keyValueHeads: 2,
        headDimension: 8,
        maximumPositions: 512,
        rmsNormEpsilon: 1e-5,
        tieWordEmbeddings: true,
        eosTokenId: tokenizer.tokenId('<|endoftext|>'),
        rope: { base: 10_000 },
      },
      // Large weights give a model with opinions.
      { seed: 11, standardDeviation: 0.3 },
    );
    return { model, tokenizer, chatTemplate: new ChatTemplate(tokenizer) };
  })();
  return made;
}
