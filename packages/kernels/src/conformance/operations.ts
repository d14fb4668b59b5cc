/** Every operation's declaration, in the order of the documentation. */
import { adamWOperation } from '../ops/adam-w.cases';
import { addRmsNormOperation } from '../ops/add-rms-norm.cases';
import { decoderStepOperation } from '../ops/decoder-step.cases';
import { embeddingOperation } from '../ops/embedding.cases';
import { incrementOperation } from '../ops/increment.cases';
import { feedForwardOperation } from '../ops/feed-forward.cases';
import { globalNormScaleOperation } from '../ops/global-norm-scale.cases';
import { groupedQueryAttentionOperation } from '../ops/grouped-query-attention.cases';
import { linearAddOperation, linearFloat32Operation, linearOperation } from '../ops/linear.cases';
import { linearSwigluOperation } from '../ops/linear-swiglu.cases';
import { linearCrossEntropyOperation } from '../ops/linear-cross-entropy.cases';
import { pagedAttentionOperation } from '../ops/paged-attention.cases';
import { pagedCacheAppendOperation } from '../ops/paged-cache.cases';
import { residualFeedForwardOperation } from '../ops/residual-feed-forward.cases';
import { residualRmsNormOperation } from '../ops/residual-rms-norm.cases';
import { rmsNormLinearOperation } from '../ops/rms-norm-linear.cases';
import { rmsNormOperation } from '../ops/rms-norm.cases';
import { ropeOperation } from '../ops/rope.cases';
import { ropeAppendOperation } from '../ops/rope-append.cases';
import { sampleTokensOperation } from '../ops/sample-tokens.cases';
import { swigluOperation } from '../ops/swiglu.cases';
import type { OperationDeclaration } from './operation-declaration';

export const operations: readonly OperationDeclaration<unknown>[] = [
  embeddingOperation,
  rmsNormOperation,
  addRmsNormOperation,
  residualRmsNormOperation,
  linearOperation,
  linearFloat32Operation,
  linearAddOperation,
  ropeOperation,
  groupedQueryAttentionOperation,
  swigluOperation,
  feedForwardOperation,
  linearSwigluOperation,
  rmsNormLinearOperation,
  residualFeedForwardOperation,
  linearCrossEntropyOperation,
  adamWOperation,
  globalNormScaleOperation,
  incrementOperation,
  pagedCacheAppendOperation,
  ropeAppendOperation,
  pagedAttentionOperation,
  decoderStepOperation,
  sampleTokensOperation,
];
