/**
 * The backends the suite runs on: every one this machine has, `native` once for each instruction set it can force and once more with
 * bfloat16 products, `cuda` in each precision, on the emulated device too; for the others, the reason why not.
 */
import { copyRegisteredKernels, findBackendFactory, registerBackend, setBackend } from '@tensorflow/tfjs-core';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type { BackendDescription, BackendName } from '../backends/backend-adapter';
import { describeBackends, initializeBackend } from '../backends/initialize-backend';
import { setMatmulPrecision } from '../backends/settings';
import { activate, silenceFirstUse } from '../backends/tfjs-adapters';
import { startCudaBackend } from '../cuda/index';
import { loadCudaAddon } from '../cuda/load-addon';
import { nativeVariants, setNativeVariant, setPoisonOutputs } from '../native/index';

export interface BackendUnderTest {
  label: string;
  precision: 'float32' | 'tensorfloat32' | 'bfloat16';
  /** In bfloat16 activations are stored in it too, so every operation has its tolerance. */
  storesBfloat16?: boolean;
  /** Why it cannot be tested here, where it can't. */
  skip?: string;
  activate(this: void): Promise<void>;
}

/** All there are; a processor runs some. */
const allNativeVariants = ['portable', 'avx2', 'avx512', 'avx512bf16'];

export async function backendsUnderTest(): Promise<BackendUnderTest[]> {
  const descriptions = await describeBackends();
  return [
    ...descriptions.flatMap((description) => {
      if (description.name === 'native') return nativeUnderTest(description);
      return description.name === 'cuda' ? cudaUnderTest(description) : [stockUnderTest(description)];
    }),
    deviceUnderTest,
  ];
}

/**
 * tfjs's CPU kernels under another name: operations then take the paths of a backend whose memory they cannot reach, which `tensorflow`
 * takes too and few machines could test otherwise.
 */
const deviceUnderTest: BackendUnderTest = {
  label: 'cpu kernels without host memory',
  precision: 'float32',
  activate: async () => {
    const name = 'without-host-memory';
    if (findBackendFactory(name) === null) {
      await start('cpu');
      registerBackend(name, () => new MathBackendCPU());
      copyRegisteredKernels('cpu', name);
    }
    await setBackend(name);
    silenceFirstUse(name);
  },
};

function stockUnderTest({ name, available, detail, remedy }: BackendDescription): BackendUnderTest {
  return {
    label: name,
    precision: 'float32',
    skip: available ? undefined : `${detail} ${remedy ?? ''}`,
    activate: () => start(name),
  };
}

function nativeUnderTest({ available, detail, remedy }: BackendDescription): BackendUnderTest[] {
  const runnable = nativeVariants();
  const unknown = runnable.filter((variant) => !allNativeVariants.includes(variant));
  if (unknown.length > 0) throw new Error(`The suite does not know the variants ${unknown.join(', ')}.`);
  return allNativeVariants.flatMap((variant) =>
    (['float32', 'bfloat16'] as const).map((precision) => ({
      label: `native, ${variant}, ${precision}`,
      precision,
      skip: !available
        ? `${detail} ${remedy ?? ''}`
        : runnable.includes(variant)
          ? undefined
          : `This processor has no ${variant}.`,
      activate: async () => {
        await start('native');
        setNativeVariant(variant);
        setMatmulPrecision(precision);
        // An element of an output that no kernel writes shows as NaN.
        setPoisonOutputs(true);
      },
    })),
  );
}

/** The GPU where there is one, and its kernels on the emulated device everywhere. */
function cudaUnderTest({ available, detail, remedy }: BackendDescription): BackendUnderTest[] {
  const emulated = loadCudaAddon('cuda-emulated');
  const devices = [
    {
      name: 'cuda-emulated',
      label: 'cuda (emulated)',
      skip: emulated.addon === undefined ? emulated.reason : undefined,
    },
    { name: 'cuda', label: 'cuda', skip: available ? undefined : `${detail} ${remedy ?? ''}` },
  ] as const;
  return devices.flatMap(({ name, label, skip }) =>
    (['float32', 'tensorfloat32', 'bfloat16'] as const).map((precision) => ({
      label: `${label}, ${precision}`,
      precision,
      storesBfloat16: precision === 'bfloat16',
      skip,
      activate: async () => {
        const backend = startCudaBackend(name);
        await activate(name);
        setMatmulPrecision(precision);
        backend?.addon.setPoison(true);
      },
    })),
  );
}

async function start(preferred: BackendName): Promise<void> {
  const { name, warnings } = await initializeBackend({ preferred });
  if (name !== preferred) throw new Error(warnings.join(' '));
}
