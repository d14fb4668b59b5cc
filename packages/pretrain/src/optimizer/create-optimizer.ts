import type { ModelConfig } from '@xgen-small/model-core';
import type { PretrainStage } from '../stage/stage';
import { createAdamW } from './adam-w';
import { createMuon, orthogonalizedMatrices } from './muon';
import type { Optimizer } from './optimizer';

/** The optimizer that a stage asks for. */
export function createOptimizer({ type, ...options }: PretrainStage['optimizer'], config: ModelConfig): Optimizer {
  return type === 'muon' ? createMuon(options, orthogonalizedMatrices(config)) : createAdamW(options);
}
