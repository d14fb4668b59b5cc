/** A tiny random model with a tokenizer of its own, and a server around it, for the tests of this package. */

import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel } from '@xgen-small/model-core';
import { ChatTemplate, Tokenizer, trainBytePairEncoding } from '@xgen-small/tokenizer';
import { createServer, type ListenAddress, type Server, type ServerLimits, type ServerOptions } from '../src/index.js';

export interface TinyModel {
  model: CausalLanguageModel;
  tokenizer: Tokenizer;
  chatTemplate: ChatTemplate;
}

const text = `The quick brown fox jumps over the lazy dog. Was it the dog or the fox that jumped? Größe, naïve, 東京, 🙂🙃.
function add(a, b) { return a + b; } What is 12 + 30? It is 42. The answer is 42, and the question is forgotten.\n`;

let made: Promise<TinyModel> | undefined;

export function tinyModel(): Promise<TinyModel> {
  made ??= (async () => {
    await initializeBackend();
    const definition = await trainBytePairEncoding([text.repeat(4)], { vocabularySize: 384, workers: 0 });
    const tokenizer = Tokenizer.fromDefinition(definition);
    const model = CausalLanguageModel.initialize(
      {
        vocabularySize: tokenizer.vocabularySize,
        hiddenSize: 64,
        intermediateSize: 128,
        layers: 2,
        queryHeads: 4,
        keyValueHeads: 2,
        headDimension: 16,
        maximumPositions: 512,
        rmsNormEpsilon: 1e-5,
        tieWordEmbeddings: true,
        eosTokenId: tokenizer.tokenId('<|endoftext|>'),
        rope: { base: 10_000 },
      },
      // Large weights give a model with opinions: at 0.02 every token would be as likely as any other.
      { seed: 7, standardDeviation: 0.25 },
    );
    return { model, tokenizer, chatTemplate: new ChatTemplate(tokenizer) };
  })();
  return made;
}

export interface Running extends TinyModel {
  server: Server;
  address: ListenAddress;
}

export async function startServer(
  options: Partial<Omit<ServerOptions, 'limits'>> & { limits?: ServerLimits } = {},
): Promise<Running> {
  const tiny = await tinyModel();
  const server = createServer({ ...tiny, modelName: 'tiny', ...options });
  const address = await server.listen();
  return { ...tiny, server, address };
}
