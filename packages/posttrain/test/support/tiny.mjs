// A character tokenizer and a model of some thousand parameters: enough for a training loop to be itself.
import { CausalLanguageModel } from '@xgen-small/model-core';

const characters = '0123456789#+-=? abcdefghijklmnopqrstuvwxyz';
const roles = { system: 1, user: 2, assistant: 3 };
const firstCharacter = 4;

/** A ChatTokenizer: role token, one token a character, end of turn (token 0). */
export const tinyTokenizer = {
  endOfTurnTokens: [0],
  vocabularySize: firstCharacter + characters.length,
  encodeConversation(messages) {
    const tokens = [];
    const assistantMask = [];
    for (const { role, content } of messages) {
      const turn = [...content].map((character) => firstCharacter + characters.indexOf(character));
      if (turn.includes(firstCharacter - 1)) throw new Error(`no token for a character of ${content}`);
      tokens.push(roles[role], ...turn, 0);
      assistantMask.push(0, ...[...turn, 0].map(() => (role === 'assistant' ? 1 : 0)));
    }
    return { tokens, assistantMask };
  },
  encodePrompt(messages) {
    return [...tinyTokenizer.encodeConversation(messages).tokens, roles.assistant];
  },
  decode(tokens) {
    return Array.from(tokens, (token) => characters[token - firstCharacter] ?? '').join('');
  },
};

export const tinyConfig = {
  vocabularySize: tinyTokenizer.vocabularySize,
  hiddenSize: 16,
  intermediateSize: 24,
  layers: 2,
  queryHeads: 4,
  keyValueHeads: 2,
  headDimension: 4,
  maximumPositions: 64,
  rmsNormEpsilon: 1e-5,
  tieWordEmbeddings: true,
  eosTokenId: 0,
  rope: { base: 10000 },
};

export function tinyModel(seed = 1, changes = {}) {
  return CausalLanguageModel.initialize({ ...tinyConfig, ...changes }, { seed, standardDeviation: 0.15 });
}

/** One-digit sums as conversations; `count` of them in a fixed order. */
export function sums(count, first = 0) {
  return Array.from({ length: count }, (_, i) => {
    const a = ((i + first) * 7) % 10;
    const b = ((i + first) * 3 + 1) % 10;
    return { question: `${a}+${b}`, answer: a + b };
  });
}

export const sumConversation = ({ question, answer }) => ({
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: `#### ${answer}` },
  ],
});
