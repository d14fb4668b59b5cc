/**
 * The operations of the CUDA addon (native/cuda/binding). Device arrays are handles: positive numbers, 0 for none. Sizes come first, then
 * inputs, then outputs.
 */

/** A device array; 0 = none. */
export type Handle = number;

export type DecoderStepSizes = [
  queryHeads: number,
  keyValueHeads: number,
  headDimension: number,
  scale: number,
  attentionScaling: number,
  epsilon: number,
  rows: number,
  width: number,
  feedForward: number,
  vocabulary: number,
  layers: number,
  cacheRows: number,
  maxBlocks: number,
  blockSize: number,
];

/** What a decoder is made of, and its training and decoding. */
export interface FusedOperations {
  embedding(tokens: number, width: number, vocabulary: number, weight: Handle, ids: Handle, out: Handle): void;
  embeddingGrad(tokens: number, width: number, vocabulary: number, ids: Handle, dy: Handle, dWeight: Handle): void;
  rmsNorm(
    rows: number,
    width: number,
    epsilon: number,
    x: Handle,
    residual: Handle,
    weight: Handle,
    y: Handle,
    sum: Handle,
    inverseRms: Handle,
  ): void;
  rmsNormGrad(
    rows: number,
    width: number,
    x: Handle,
    weight: Handle,
    inverseRms: Handle,
    dy: Handle,
    dSum: Handle,
    dx: Handle,
    dWeight: Handle,
  ): void;
  rope(
    rows: number,
    heads: number,
    rotatedHeads: number,
    headDimension: number,
    scaling: number,
    inverse: boolean,
    x: Handle,
    positions: Handle,
    inverseFrequencies: Handle,
    y: Handle,
  ): void;
  feedForward(
    rows: number,
    width: number,
    inner: number,
    x: Handle,
    gateUpWeight: Handle,
    downWeight: Handle,
    residual: Handle,
    gateUp: Handle,
    activation: Handle,
    y: Handle,
  ): void;
  gatedLinear(
    rows: number,
    width: number,
    inner: number,
    x: Handle,
    weight: Handle,
    gateUp: Handle,
    activation: Handle,
  ): void;
  feedForwardGrad(
    rows: number,
    width: number,
    inner: number,
    x: Handle,
    gateUpWeight: Handle,
    downWeight: Handle,
    gateUp: Handle,
    activation: Handle,
    dy: Handle,
    dx: Handle,
    dGateUpWeight: Handle,
    dDownWeight: Handle,
  ): void;
  swiglu(rows: number, width: number, gateUp: Handle, y: Handle): void;
  swigluGrad(rows: number, width: number, gateUp: Handle, dy: Handle, dGateUp: Handle): void;

  /** a and b of one floating type; c of that type or float32. */
  matMul(
    batch: number,
    sharedA: boolean,
    sharedB: boolean,
    m: number,
    n: number,
    k: number,
    transposedA: boolean,
    transposedB: boolean,
    a: Handle,
    b: Handle,
    c: Handle,
  ): void;

  /**
   * x [rows, depth], weight [width, depth], residual [rows, width] or 0, y [rows, width]: of one floating type, y without a residual also float32.
   * norm [depth]: normalises x's rows first, with epsilon; or 0.
   */
  linear(
    rows: number,
    width: number,
    depth: number,
    epsilon: number,
    x: Handle,
    norm: Handle,
    weight: Handle,
    residual: Handle,
    y: Handle,
  ): void;
  /** x [rows, depth], weight [2 width, depth], gates first, y [rows, width]: of one floating type; norm as in `linear`. */
  linearSwiglu(
    rows: number,
    width: number,
    depth: number,
    epsilon: number,
    x: Handle,
    norm: Handle,
    weight: Handle,
    y: Handle,
  ): void;

  attention(
    queryHeads: number,
    keyValueHeads: number,
    headDimension: number,
    scale: number,
    tokens: number,
    documents: number,
    longestDocument: number,
    qkv: Handle,
    cumulativeLengths: Handle,
    out: Handle,
    logSumExp: Handle,
  ): void;
  attentionGrad(
    queryHeads: number,
    keyValueHeads: number,
    headDimension: number,
    scale: number,
    tokens: number,
    documents: number,
    longestDocument: number,
    qkv: Handle,
    cumulativeLengths: Handle,
    out: Handle,
    logSumExp: Handle,
    dy: Handle,
    dQkv: Handle,
  ): void;
  pagedCacheAppend(
    queryHeads: number,
    keyValueHeads: number,
    headDimension: number,
    scale: number,
    tokens: number,
    cacheRows: number,
    keyCache: Handle,
    valueCache: Handle,
    qkv: Handle,
    slots: Handle,
  ): void;
  ropeAppend(
    queryHeads: number,
    keyValueHeads: number,
    headDimension: number,
    attentionScaling: number,
    tokens: number,
    cacheRows: number,
    keyCache: Handle,
    valueCache: Handle,
    qkv: Handle,
    positions: Handle,
    inverseFrequencies: Handle,
    slots: Handle,
    y: Handle,
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
    qkv: Handle,
    keyCache: Handle,
    valueCache: Handle,
    cumulativeQueryLengths: Handle,
    contextLengths: Handle,
    blockTables: Handle,
    out: Handle,
  ): void;

  /** Whether `decoderStep` has a kernel for these sizes. */
  decoderStepTakes(...sizes: DecoderStepSizes): boolean;
  /**
   * `layers`: eight handles a layer, in the order of `decoderStepLayerInputs`; all of bfloat16 but the norms, which share a type, the logits, and the table.
   * Either the stream or table and ids are 0.
   */
  decoderStep(
    ...all: [
      ...sizes: DecoderStepSizes,
      layers: Int32Array,
      stream: Handle,
      finalNorm: Handle,
      head: Handle,
      positions: Handle,
      slots: Handle,
      inverseFrequencies: Handle,
      contextLengths: Handle,
      blockTables: Handle,
      logits: Handle,
      table: Handle,
      tableRows: number,
      ids: Handle,
      advance: boolean,
    ]
  ): void;

  linearCrossEntropy(
    rows: number,
    width: number,
    vocabulary: number,
    ignoreIndex: number,
    hidden: Handle,
    weight: Handle,
    targets: Handle,
    logProbabilities: Handle,
    logSumExp: Handle,
  ): void;
  linearCrossEntropyGrad(
    rows: number,
    width: number,
    vocabulary: number,
    ignoreIndex: number,
    hidden: Handle,
    weight: Handle,
    targets: Handle,
    logSumExp: Handle,
    dy: Handle,
    dHidden: Handle,
    dWeight: Handle,
  ): void;
  /** dy: the gradient of every log-probability. */
  linearCrossEntropyWithGradient(
    rows: number,
    width: number,
    vocabulary: number,
    ignoreIndex: number,
    dy: number,
    hidden: Handle,
    weight: Handle,
    targets: Handle,
    logProbabilities: Handle,
    dHidden: Handle,
    dWeight: Handle,
  ): void;
  /** Found wrong, it shows at the next read. */
  expectGradient(rows: number, ignoreIndex: number, expected: number, dy: Handle, targets: Handle): void;
  /**
   * Lists of handles; a shadow of 0 is none. The last two are arrays of one float32 learning rate and one int32 step, used instead of the
   * numbers, or both 0.
   */
  adamW(
    learningRate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    correction1: number,
    correction2: number,
    seed: number,
    weightDecay: Float32Array,
    gradientScale: Handle,
    parameters: Int32Array,
    shadows: Int32Array,
    gradients: Int32Array,
    firstMoments: Int32Array,
    secondMoments: Int32Array,
    learningRateArray: Handle,
    stepArray: Handle,
  ): void;
  globalNorm(maximumNorm: number, count: number, gradients: Int32Array, norm: Handle, scale: Handle): void;
  sampleTokens(
    rows: number,
    vocabulary: number,
    logits: Handle,
    temperature: Handle,
    topK: Handle,
    topP: Handle,
    minP: Handle,
    uniforms: Handle,
    ids: Handle,
    logProbabilities: Handle,
    into: Handle,
  ): void;
}

/** What TensorFlow.js's own operations come down to. */
export interface StockOperations {
  /** Operations are numbered as in native/cuda/include/xgen/cuda/operations.h; repeat: 0 none, 1 scalar, 2 row. */
  binary(
    operation: number,
    count: number,
    repeatA: number,
    repeatB: number,
    row: number,
    a: Handle,
    b: Handle,
    out: Handle,
  ): void;
  unary(operation: number, count: number, x: Handle, out: Handle): void;
  addN(count: number, inputsCount: number, inputs: Int32Array, out: Handle): void;
  select(count: number, condition: Handle, a: Handle, b: Handle, out: Handle): void;
  reduceRows(operation: number, rows: number, width: number, x: Handle, out: Handle): void;
  reduceColumns(operation: number, rows: number, width: number, x: Handle, out: Handle): void;
  softmax(rows: number, width: number, x: Handle, out: Handle): void;
  cumulativeSum(
    outer: number,
    width: number,
    inner: number,
    exclusive: boolean,
    reverse: boolean,
    x: Handle,
    out: Handle,
  ): void;
  /** values: float32, or 0 for none. */
  topK(rows: number, width: number, k: number, x: Handle, values: Handle, indices: Handle): void;
  oneHot(count: number, depth: number, on: number, off: number, indices: Handle, out: Handle): void;
  fill(count: number, value: number, out: Handle): void;
  /** Each of the arrays, of `count` int32, += by, in place. */
  increment(count: number, by: number, arraysCount: number, arrays: Int32Array): void;
  convertTo(count: number, x: Handle, out: Handle): void;
  transpose(rows: number, columns: number, x: Handle, out: Handle): void;
  copyStrided(
    x: Handle,
    readAt: number,
    out: Handle,
    writeAt: number,
    sizes: Int32Array,
    sourceStrides: Int32Array,
    targetStrides: Int32Array,
    rank: number,
  ): void;
  copyRange(count: number, x: Handle, readAt: number, out: Handle, writeAt: number): void;
}
