import { scalar, type Scalar, type Tensor, tensor, variable, type Variable, zeros } from '@tensorflow/tfjs-core';
import { floats, integers, normal, sizeOf } from '../conformance/host-tensor';
import { type CaseInputs, declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgAdamW } from '../kernel-names';
import { adamW, type AdamWOptions } from './adam-w';

type Attributes = Required<Omit<AdamWOptions, 'gradientScale' | 'weightDecay' | 'learningRate' | 'step'>> & {
  weightDecay: number[];
  learningRate: number;
  step: number;
};

function adamWCase(
  shapes: number[][],
  {
    step = 1,
    gradientScale,
    asTensors = false,
    ...rest
  }: Partial<Attributes> & { gradientScale?: number; asTensors?: boolean } = {},
): OperationCase<Attributes> {
  const inputs: Record<string, CaseInputs[string]> = {};
  shapes.forEach((shape, i) => {
    inputs[`parameter${i}`] = normal(shape, 4 * i + 1);
    inputs[`gradient${i}`] = normal(shape, 4 * i + 2, 0.1);
    inputs[`firstMoment${i}`] = normal(shape, 4 * i + 3, 0.1);
    inputs[`secondMoment${i}`] = floats(
      shape,
      normal(shape, 4 * i + 4, 0.1).values.map((value) => value ** 2),
    );
  });
  if (gradientScale !== undefined) inputs.gradientScale = floats([], [gradientScale]);
  const attributes = {
    learningRate: 1e-3,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weightDecay: shapes.map(() => 0),
    step,
    ...rest,
  };
  if (asTensors) {
    inputs.learningRate = floats([], [attributes.learningRate]);
    inputs.step = integers([], [step]);
  }
  return {
    name:
      `${shapes.map((shape) => `[${shape.join(', ')}]`).join(' ')}, step ${step}, decay ${attributes.weightDecay.join('/')}, ` +
      `scale ${gradientScale ?? 'none'}${asTensors ? ', rate and step as tensors' : ''}`,
    inputs,
    attributes,
  };
}

const owned = (source: Tensor): Variable => variable(tensor(source.dataSync().slice(), source.shape, 'float32'), false);

export const adamWOperation = declareOperation<Attributes>({
  operation: 'adamW',
  kernels: [XgAdamW],
  differentiable: [],
  usesMatmulPrecision: false,
  changesInPlace: true,
  cases: [
    adamWCase([[1]]),
    adamWCase([[3, 5], [17], [4, 4]], { step: 10, weightDecay: [0.1, 0, 0.01] }),
    adamWCase([[33, 65]], {
      step: 1000,
      learningRate: 0.1,
      beta1: 0.8,
      beta2: 0.999,
      epsilon: 1e-5,
      gradientScale: 0.25,
    }),
    adamWCase([[130, 257], [3]], { step: 2, weightDecay: [0.1, 0.1], gradientScale: 1 }),
    adamWCase([[9, 7]], { step: 300, learningRate: 0.02, beta2: 0.999, weightDecay: [0.1], asTensors: true }),
  ],
  benchmark: () =>
    adamWCase([[2048, 256], [1408, 256], [256, 704], [256]], { step: 10, weightDecay: [0.1, 0.1, 0.1, 0] }),
  run: (inputs, attributes) => {
    const indices = attributes.weightDecay.map((_, i) => i);
    const state = {
      parameters: indices.map((i) => owned(inputs[`parameter${i}`])),
      firstMoments: indices.map((i) => owned(inputs[`firstMoment${i}`])),
      secondMoments: indices.map((i) => owned(inputs[`secondMoment${i}`])),
    };
    adamW(
      state,
      indices.map((i) => inputs[`gradient${i}`]),
      {
        ...attributes,
        gradientScale: inputs.gradientScale as Scalar | undefined,
        learningRate: (inputs.learningRate as Scalar | undefined) ?? attributes.learningRate,
        step: (inputs.step as Scalar | undefined) ?? attributes.step,
      },
    );
    return indices.flatMap((i) => [state.parameters[i], state.firstMoments[i], state.secondMoments[i]]);
  },
  reference: (inputs, { learningRate, beta1, beta2, epsilon, weightDecay, step }) => {
    const scale = inputs.gradientScale?.values[0] ?? 1;
    return weightDecay.flatMap((decay, i) => {
      const [p, g, m, v] = ['parameter', 'gradient', 'firstMoment', 'secondMoment'].map(
        (name) => inputs[`${name}${i}`].values,
      );
      const size = sizeOf(inputs[`parameter${i}`].shape);
      const results = [new Float64Array(size), new Float64Array(size), new Float64Array(size)];
      for (let j = 0; j < size; j++) {
        const gradient = g[j] * scale;
        const first = beta1 * m[j] + (1 - beta1) * gradient;
        const second = beta2 * v[j] + (1 - beta2) * gradient ** 2;
        const update = first / (1 - beta1 ** step) / (Math.sqrt(second / (1 - beta2 ** step)) + epsilon);
        results[0][j] = p[j] - learningRate * decay * p[j] - learningRate * update;
        results[1][j] = first;
        results[2][j] = second;
      }
      return results;
    });
  },
  failures: [
    {
      name: 'a gradient too few',
      call: () => withState([2], (state) => adamW(state, [], options)),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'a gradient of another shape',
      call: () => withState([2], (state) => adamW(state, [zeros([3])], options)),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'step 0',
      call: () => withState([2], (state) => adamW(state, [zeros([2])], { ...options, step: 0 })),
      code: 'WRONG_OPTION',
    },
    {
      name: 'beta1 of 1',
      call: () => withState([2], (state) => adamW(state, [zeros([2])], { ...options, beta1: 1 })),
      code: 'WRONG_OPTION',
    },
    {
      name: 'decays for other parameters',
      call: () => withState([2], (state) => adamW(state, [zeros([2])], { ...options, weightDecay: [0, 0] })),
      code: 'WRONG_OPTION',
    },
    {
      name: 'a gradient scale of two elements',
      call: () =>
        withState([2], (state) =>
          adamW(state, [zeros([2])], { ...options, gradientScale: zeros([2]) as unknown as Scalar }),
        ),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'a step that is no integer tensor',
      call: () => withState([2], (state) => adamW(state, [zeros([2])], { ...options, step: scalar(1) })),
      code: 'WRONG_DTYPE',
    },
    {
      name: 'a NaN learning rate',
      call: () =>
        withState([2], (state) =>
          adamW(state, [zeros([2])], { ...options, learningRate: NaN, gradientScale: scalar(1) }),
        ),
      code: 'WRONG_OPTION',
    },
  ],
});

const options: AdamWOptions = { learningRate: 0.1, step: 1 };

function withState(
  shape: number[],
  call: (state: Record<'parameters' | 'firstMoments' | 'secondMoments', Variable[]>) => void,
): void {
  const variables = [0, 1, 2].map(() => variable(zeros(shape), false));
  try {
    call({ parameters: [variables[0]], firstMoments: [variables[1]], secondMoments: [variables[2]] });
  } finally {
    for (const one of variables) one.dispose();
  }
}
