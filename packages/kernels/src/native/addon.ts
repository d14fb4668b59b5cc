/**
 * The addon as TypeScript sees it: one signature a native function (native/binding). Sizes come first, then inputs, then
 * outputs; `null` leaves an optional array out. The addon checks the type and length of every array, and every index, before it
 * touches memory, and throws an Error with a `code` otherwise.
 */

type Optional = Float32Array | null;

export interface NativeAddon {
  threadCount(): number;
  /** 0 = one thread a core this process may use. */
  setThreadCount(count: number): void;
  variant(): string;
  /** '' = the best this processor has. */
  setVariant(name: string): void;
  variants(): string[];
  /** Memory that holds anything, aligned to a cache line. */
  allocate(bytes: number): ArrayBuffer;

  embedding(
    tokens: number,
    width: number,
    vocabulary: number,
    weight: Float32Array,
    ids: Int32Array,
    out: Float32Array,
  ): void;
  embeddingGrad(
    tokens: number,
    width: number,
    vocabulary: number,
    ids: Int32Array,
    dy: Float32Array,
    dWeight: Float32Array,
  ): void;
  rmsNorm(
    rows: number,
    width: number,
    epsilon: number,
    x: Float32Array,
    residual: Optional,
    weight: Float32Array,
    y: Float32Array,
    sum: Optional,
    inverseRms: Float32Array,
  ): void;
  rmsNormGrad(
    rows: number,
    width: number,
    x: Float32Array,
    weight: Float32Array,
    inverseRms: Float32Array,
    dy: Float32Array,
    dSum: Optional,
    dx: Optional,
    dWeight: Optional,
  ): void;
  rope(
    rows: number,
    width: number,
    rotatedHeads: number,
    headDimension: number,
    scaling: number,
    inverse: boolean,
    x: Float32Array,
    positions: Int32Array,
    inverseFrequencies: Float32Array,
    y: Float32Array,
  ): void;
  swiglu(rows: number, width: number, gateUp: Float32Array, y: Float32Array): void;
  swigluGrad(rows: number, width: number, gateUp: Float32Array, dy: Float32Array, dGateUp: Float32Array): void;

  linear(
    rows: number,
    inputs: number,
    outputs: number,
    bfloat16: boolean,
    x: Float32Array,
    weight: Float32Array,
    y: Float32Array,
  ): void;
  linearGrad(
    rows: number,
    inputs: number,
    outputs: number,
    bfloat16: boolean,
    x: Float32Array,
    weight: Float32Array,
    dy: Float32Array,
    dx: Optional,
    dWeight: Optional,
  ): void;
  packedWeightBytes(inputs: number, outputs: number, bfloat16: boolean): number;
  /** Packs a weight for `linearPacked`; good for the variant in use. */
  packWeight(inputs: number, outputs: number, bfloat16: boolean, weight: Float32Array, packed: Uint8Array): void;
  /** The same bits as `linear`, for few rows without packing again. */
  linearPacked(
    rows: number,
    inputs: number,
    outputs: number,
    bfloat16: boolean,
    x: Float32Array,
    packed: Uint8Array,
    y: Float32Array,
  ): void;
  batchMatMul(
    batch: number,
    sharedA: boolean,
    sharedB: boolean,
    m: number,
    n: number,
    k: number,
    transposedA: boolean,
    transposedB: boolean,
    bfloat16: boolean,
    a: Float32Array,
    b: Float32Array,
    out: Float32Array,
  ): void;

  attention(
    queryHeads: number,
    keyValueHeads: number,
    headDimension: number,
    scale: number,
    tokens: number,
    documents: number,
    qkv: Float32Array,
    cumulativeLengths: Int32Array,
    out: Float32Array,
    logSumExp: Float32Array,
  ): void;
  attentionGrad(
    queryHeads: number,
    keyValueHeads: number,
    headDimension: number,
    scale: number,
    tokens: number,
    documents: number,
    qkv: Float32Array,
    cumulativeLengths: Int32Array,
    out: Float32Array,
    logSumExp: Float32Array,
    dy: Float32Array,
    dQkv: Float32Array,
  ): void;
  pagedCacheAppend(
    queryHeads: number,
    keyValueHeads: number,
    headDimension: number,
    scale: number,
    tokens: number,
    cacheRows: number,
    keyCache: Float32Array,
    valueCache: Float32Array,
    qkv: Float32Array,
    slots: Int32Array,
  ): void;
  pagedAttention(
    queryHeads: number,
    keyValueHeads: number,
    headDimension: number,
    scale: number,
    tokens: number,
    cacheRows: number,
    sequences: number,
    maxBlocks: number,
    blockSize: number,
    qkv: Float32Array,
    keyCache: Float32Array,
    valueCache: Float32Array,
    cumulativeQueryLengths: Int32Array,
    contextLengths: Int32Array,
    blockTables: Int32Array,
    out: Float32Array,
  ): void;

  linearCrossEntropy(
    rows: number,
    width: number,
    vocabulary: number,
    ignoreIndex: number,
    bfloat16: boolean,
    hidden: Float32Array,
    weight: Float32Array,
    targets: Int32Array,
    logProbabilities: Float32Array,
    logSumExp: Float32Array,
  ): void;
  linearCrossEntropyGrad(
    rows: number,
    width: number,
    vocabulary: number,
    ignoreIndex: number,
    bfloat16: boolean,
    hidden: Float32Array,
    weight: Float32Array,
    targets: Int32Array,
    logSumExp: Float32Array,
    dy: Float32Array,
    dHidden: Optional,
    dWeight: Optional,
  ): void;
  adamW(
    learningRate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    gradientScale: number,
    correction1: number,
    correction2: number,
    weightDecay: Float32Array,
    parameters: Float32Array[],
    gradients: Float32Array[],
    firstMoments: Float32Array[],
    secondMoments: Float32Array[],
  ): void;
  globalNorm(gradients: Float32Array[]): number;
  sampleTokens(
    rows: number,
    vocabulary: number,
    logits: Float32Array,
    temperature: Float32Array,
    topK: Int32Array,
    topP: Float32Array,
    minP: Float32Array,
    uniforms: Float32Array,
    ids: Int32Array,
    logProbabilities: Float32Array,
  ): void;

  /** Operations are numbered as in `BinaryOperation` (native/include/xgen/kernel_table.h); repeat: 0 none, 1 scalar, 2 row. */
  binary(
    operation: number,
    count: number,
    repeatA: number,
    repeatB: number,
    row: number,
    a: Float32Array,
    b: Float32Array,
    out: Float32Array,
  ): void;
  /** Numbered as in `UnaryOperation`. */
  unary(operation: number, count: number, x: Float32Array, out: Float32Array): void;
  addN(count: number, inputs: Float32Array[], out: Float32Array): void;
  sumRows(rows: number, width: number, x: Float32Array, out: Float32Array): void;
  sumColumns(rows: number, width: number, x: Float32Array, out: Float32Array): void;
  softmax(rows: number, width: number, x: Float32Array, y: Float32Array): void;
  transpose(rows: number, columns: number, x: Float32Array, y: Float32Array): void;
}
