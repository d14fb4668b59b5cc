// A decoding step of a Llama-type decoder for a few sequences, one launch from the embedded tokens to the logits.
//
// Bound by memory: every weight is read once, 2 bytes each; the 2.2 GB of 16 layers of width 2,048 take 0.66 ms at 3.35 TB/s. As a chain of kernels, the
// memory is idle wherever one ends and the next begins. Here weights do not wait for activations:
// - a block a processor, for the whole step. The weights of all layers are one stream to it, cut into pieces of rows, of 2 KB at most, which its warps
//   take by turns, two at once. Each warp has a ring of them in shared memory (some 190 KB a processor in all), filled by the copy engine: as soon as a
//   warp has read a slot, what comes next is on its way there, of whatever product it is. So while blocks wait for each other, the ring runs full: 5 us
//   of the memory's time on an H200, 7 us on an H100;
// - activations go through small arrays in device memory and a barrier of the grid (a counter), five times a layer: after qkv, attention, output, gate
//   and up, down. What does not depend on them is read before: norms, the cache's keys and values, which are asked for half a layer ahead, as the memory
//   serves whatever is asked for after megabytes of weights (decoder_spans.h, decoder_attention.h);
// - the tensor cores multiply (decoder_products.h), so that reading a piece costs few instructions and the blocks catch up after each barrier;
// - every block normalises the rows of x itself.
// What it takes besides reading is these barriers: about 1 us each where nothing else is under way, 2 to 3 us while the memory is busy.
//
// Activations are rounded where the operations apart (rms_norm, products, rope_append, paged_attention) store them.
#include <algorithm>

#include "decoder_attention.h"
#include "decoder_products.h"

namespace xgen::cuda {

namespace {

using namespace decoder;

constexpr const char* kName = "decoder_step";

template <unsigned Rows, unsigned Size>
__global__ void __launch_bounds__(kWarps* kWarp, 1) decoder_step_kernel(const __grid_constant__ Call a) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  XGEN_DYNAMIC_SHARED(shared);
  XGEN_SHARED(float, scratch, kWarps * Rows);
  XGEN_SHARED(unsigned, flag, 1);
  XGEN_SHARED(Span, spans, Rows);
  constexpr unsigned kStride = kWarps * kWarp * kVector / Size;
  const unsigned warp = threadIdx.x / kWarp;
  float* const turns = reinterpret_cast<float*>(shared + a.turns_at);
  Share* const shares = reinterpret_cast<Share*>(shared + a.shares_at);
  for (unsigned i = threadIdx.x; i < product_count(a); i += kWarps * kWarp) shares[i] = share_of(a, i);
  if (threadIdx.x < a.rows) spans[threadIdx.x] = span_of<kStride>(a, threadIdx.x);
  turns_of<Size, kWarps>(a, turns);
  __syncthreads();
  int* const early_rows = reinterpret_cast<int*>(shared + a.early_at);
  const Early early = early_of(a, spans);
  find_early<kWarps>(a, early, early_rows);
  __syncthreads();
  Block<Rows, Size> block = {a,
                             shares,
                             reinterpret_cast<bfloat16*>(shared + a.x_at),
                             reinterpret_cast<float*>(shared + a.sums_at),
                             scratch,
                             Ring(shared + warp * a.depth * kSlotBytes, reinterpret_cast<std::uint64_t*>(shared + a.barriers_at) + warp * a.depth, a.depth),
                             {},
                             warp};
  bring_early<Size, kWarps>(a, 0, early, early_rows);
  block.next.start(a, shares, warp);
  for (unsigned i = 0; i < a.depth && block.next.there(); i++) {
    block.ring.fill(i, block.next);
    block.next.advance(a, shares);
  }
  Grid grid = {a.counters};
  const unsigned arrivals = attention_arrivals(a, spans);

  for (unsigned layer = 0; layer < a.layer_count; layer++) {
    const DecoderLayer& weights = a.layers[layer];
    const bfloat16* const stream = layer == 0 ? a.stream : a.residual;
    auto norm = block.norm_of(weights.attention_norm);
    Product product = product_of(a, layer * kProducts + kQkv, shares);
    if (layer > 0) grid.wait();
    block.load_normalized(stream, weights.attention_norm, norm);
    block.multiply(product);
    block.results(product, [&](unsigned row, unsigned output, unsigned i) {
      from_float(block.sum_of(product, i / 2, i % 2, row), a.qkv[row * a.heads.row() + output]);
    });
    grid.arrive();
    attend<Size, kWarps>(a, layer, grid, turns, spans, reinterpret_cast<float*>(block.x), flag);
    product = product_of(a, layer * kProducts + kOutput, shares);
    grid.expect(arrivals);
    grid.wait();
    load_attended<Size, kWarps>(a, spans, block.x);
    block.multiply_residual(product, stream);
    grid.arrive();
    norm = block.norm_of(weights.feed_forward_norm);
    product = product_of(a, layer * kProducts + kGateUp, shares);
    grid.expect(gridDim.x);
    grid.wait();
    block.load_normalized(a.residual, weights.feed_forward_norm, norm);
    block.multiply(product);
    block.results(product, [&](unsigned row, unsigned output, unsigned i) {
      const float gate = rounded(block.sum_of(product, i, 0, row)), up = rounded(block.sum_of(product, i, 1, row));
      from_float(gate * (sigmoid(gate) * up), a.activation[row * a.feed_forward + output]);
    });
    grid.arrive();
    if (layer + 1 < a.layer_count) bring_early<Size, kWarps>(a, layer + 1, early, early_rows);
    product = product_of(a, layer * kProducts + kDown, shares);
    grid.expect(gridDim.x);
    grid.wait();
    block.load(a.activation, a.feed_forward);
    block.multiply_residual(product, a.residual);
    grid.arrive();
    grid.expect(gridDim.x);
  }
  const auto norm = block.norm_of(a.final_norm);
  grid.wait();
  block.load_normalized(a.residual, a.final_norm, norm);
  const Product product = product_of(a, a.layer_count * kProducts, shares);
  block.multiply(product);
  block.results(product, [&](unsigned row, unsigned output, unsigned i) {
    store1(a.logits, a.logits_type, std::size_t{row} * a.vocabulary + output, block.sum_of(product, i / 2, i % 2, row));
  });
  if (threadIdx.x == 0 && atomicAdd(a.counters + 1, 1u) + 1 == gridDim.x) a.counters[0] = a.counters[1] = 0;
#endif
}

// Of a row of weights: pieces of equal size.
unsigned segments_of(std::size_t depth) {
  const std::size_t least = divide_up(depth, kPiece);
  // Warps that always have the same part of a row keep that part of x.
  for (std::size_t segments = 1; segments <= kWarps; segments *= 2) {
    if (segments >= least && depth % (segments * kVector) == 0) return static_cast<unsigned>(segments);
  }
  std::size_t segments = least;
  while (depth % (segments * kVector) != 0) segments++;
  return static_cast<unsigned>(segments);
}

std::size_t grid_blocks() {
#ifdef XGEN_CUDA_EMULATION
  return 1;  // blocks run one after another there, and would wait for each other
#else
  return multiprocessors();
#endif
}

// Rows that the kernel is compiled for.
unsigned compiled_rows(std::size_t rows) { return rows <= 2 ? static_cast<unsigned>(rows) : static_cast<unsigned>(kMostDecoderRows); }

struct Plan {
  unsigned splits, depth, width_segments, heads_segments, feed_forward_segments;
  std::size_t x_at, sums_at, turns_at, shares_at, early_at, barriers_at, shared_bytes;
  std::size_t residual_at, qkv_at, attended_at, activation_at, partial_at, statistics_at, workspace_bytes;
};

Plan plan_of(const DecoderStep& step) {
  const AttentionShape& shape = step.shape;
  const std::size_t pairs = step.rows * shape.key_value_heads, heads_width = shape.query_heads * shape.head_dimension, blocks = grid_blocks();
  const unsigned rows = compiled_rows(step.rows);
  Plan plan = {};
  plan.splits = static_cast<unsigned>(std::max<std::size_t>(1, multiprocessors() / pairs));
  plan.width_segments = segments_of(step.width);
  plan.heads_segments = segments_of(heads_width);
  plan.feed_forward_segments = segments_of(step.feed_forward);
  // Pairs of pieces of a block's share.
  const auto share = [&](std::size_t outputs, std::size_t segments, bool gated) {
    const std::size_t most = divide_up(outputs, blocks) + 1;
    return (gated ? most : divide_up(most, 2)) * segments;
  };
  const std::size_t pieces = std::max({share(shape.row(), plan.width_segments, false), share(step.width, plan.heads_segments, false),
                                       share(step.feed_forward, plan.width_segments, true), share(step.width, plan.feed_forward_segments, false),
                                       share(step.vocabulary, plan.width_segments, false)});
  const std::size_t scratch = shape.head_dimension == 64 ? attention_scratch_floats<64, kWarps>() : attention_scratch_floats<128, kWarps>();
  const std::size_t x_bytes = std::max(rows * std::max({step.width, heads_width, step.feed_forward}) * sizeof(bfloat16), scratch * sizeof(float));
  const std::size_t sums_bytes = 2 * pieces * rows * sizeof(float), turns_bytes = rows * shape.head_dimension * sizeof(float);
  constexpr std::size_t kMostDepth = 12, kStaticBytes = 1024, kEarlyBytes = kPrefetchedKeys * sizeof(int);
  const std::size_t shares_bytes = (step.layer_count * kProducts + 1) * sizeof(Share);
  const std::size_t fixed = align_up(x_bytes) + align_up(sums_bytes) + align_up(turns_bytes) + align_up(shares_bytes) + kEarlyBytes +
                            align_up(kWarps * kMostDepth * sizeof(std::uint64_t)) + kStaticBytes;
  const std::size_t most = most_shared_bytes();
  plan.depth = static_cast<unsigned>(fixed > most ? 0 : std::min(kMostDepth, (most - fixed) / (kWarps * kSlotBytes)));
  plan.x_at = std::size_t{plan.depth} * kWarps * kSlotBytes;
  plan.sums_at = plan.x_at + align_up(x_bytes);
  plan.turns_at = plan.sums_at + align_up(sums_bytes);
  plan.shares_at = plan.turns_at + align_up(turns_bytes);
  plan.early_at = plan.shares_at + align_up(shares_bytes);
  plan.barriers_at = plan.early_at + kEarlyBytes;
  plan.shared_bytes = plan.barriers_at + align_up(kWarps * kMostDepth * sizeof(std::uint64_t));

  std::size_t at = 0;
  const auto take = [&](std::size_t bytes) {
    const std::size_t from = at;
    at += align_up(bytes);
    return from;
  };
  plan.residual_at = take(step.rows * step.width * sizeof(bfloat16));
  plan.qkv_at = take(step.rows * shape.row() * sizeof(bfloat16));
  plan.attended_at = take(step.rows * heads_width * sizeof(bfloat16));
  plan.activation_at = take(step.rows * step.feed_forward * sizeof(bfloat16));
  const std::size_t units = pairs * plan.splits * shape.group();
  plan.statistics_at = take(units * sizeof(Statistic));
  plan.partial_at = take(units * shape.head_dimension * sizeof(float));
  plan.workspace_bytes = at;
  return plan;
}

int shift_of(std::size_t block_size) {
  int shift = 0;
  while ((std::size_t{1} << shift) < block_size) shift++;
  return (std::size_t{1} << shift) == block_size ? shift : -1;
}

template <unsigned Rows, unsigned Size>
void run(Stream stream, const Call& call, std::size_t shared_bytes) {
  launch_following(Follow::together, 1, kName, decoder_step_kernel<Rows, Size>, static_cast<unsigned>(grid_blocks()), kWarps * kWarp, shared_bytes, stream, call);
}
template <unsigned Size>
void run_rows(Stream stream, const Call& call, std::size_t shared_bytes) {
  if (call.rows == 1) return run<1, Size>(stream, call, shared_bytes);
  if (call.rows == 2) return run<2, Size>(stream, call, shared_bytes);
  run<kMostDecoderRows, Size>(stream, call, shared_bytes);
}

}  // namespace

bool decoder_step_takes(const DecoderStep& step) {
  const AttentionShape& shape = step.shape;
  constexpr std::size_t kMostOutputs = std::size_t{1} << 20, kMostCacheRows = std::size_t{1} << 30;
#ifndef XGEN_CUDA_EMULATION
  if (!launches_overlap()) return false;  // below Hopper
#endif
  if (step.rows == 0 || step.rows > kMostDecoderRows || step.layer_count == 0 || step.layer_count > kMostDecoderLayers) return false;
  if (shape.head_dimension != 64 && shape.head_dimension != 128) return false;
  if (step.width == 0 || step.feed_forward == 0 || step.vocabulary == 0 || step.width % kVector != 0 || step.feed_forward % kVector != 0) return false;
  if (std::max({step.width, step.feed_forward, step.vocabulary, shape.row()}) > kMostOutputs) return false;
  if (step.rows * shape.key_value_heads + kPairs > kPagedArrivals) return false;
  if (step.cache_rows > kMostCacheRows || step.max_blocks * step.block_size > kMostCacheRows) return false;
  return plan_of(step).depth >= 2;
}

std::size_t decoder_step_workspace_bytes(const DecoderStep& step) { return plan_of(step).workspace_bytes; }

void decoder_step(Stream stream, const DecoderStep& step, void* workspace, std::uint32_t* counters, ErrorFlag* slots_error, ErrorFlag* pages_error) {
  static_assert(sizeof(Call) <= 4096);
  const Plan plan = plan_of(step);
  unsigned char* const memory = static_cast<unsigned char*>(workspace);
  Call call = {};
  std::copy_n(step.layers, step.layer_count, call.layers);
  call.stream = static_cast<const bfloat16*>(step.stream);
  call.head = static_cast<const bfloat16*>(step.head);
  call.final_norm = step.final_norm;
  call.logits = step.logits.data;
  call.logits_type = step.logits.type;
  call.positions = step.positions;
  call.slots = step.slots;
  call.context_lengths = step.context_lengths;
  call.block_tables = step.block_tables;
  call.inverse_frequencies = step.inverse_frequencies;
  call.residual = reinterpret_cast<bfloat16*>(memory + plan.residual_at);
  call.qkv = reinterpret_cast<bfloat16*>(memory + plan.qkv_at);
  call.attended = reinterpret_cast<bfloat16*>(memory + plan.attended_at);
  call.activation = reinterpret_cast<bfloat16*>(memory + plan.activation_at);
  call.statistics = reinterpret_cast<Statistic*>(memory + plan.statistics_at);
  call.partial = reinterpret_cast<float*>(memory + plan.partial_at);
  call.counters = counters;
  call.slots_error = slots_error;
  call.pages_error = pages_error;
  call.heads = heads_of(step.shape);
  call.rows = static_cast<unsigned>(step.rows);
  call.width = static_cast<unsigned>(step.width);
  call.feed_forward = static_cast<unsigned>(step.feed_forward);
  call.vocabulary = static_cast<unsigned>(step.vocabulary);
  call.layer_count = static_cast<unsigned>(step.layer_count);
  call.width_segments = plan.width_segments;
  call.heads_segments = plan.heads_segments;
  call.feed_forward_segments = plan.feed_forward_segments;
  call.max_blocks = static_cast<unsigned>(step.max_blocks);
  call.block_size = static_cast<unsigned>(step.block_size);
  call.cache_blocks = static_cast<unsigned>(step.cache_rows / step.block_size);
  call.block_shift = shift_of(step.block_size);
  call.splits = plan.splits;
  call.depth = plan.depth;
  call.x_at = static_cast<unsigned>(plan.x_at);
  call.sums_at = static_cast<unsigned>(plan.sums_at);
  call.turns_at = static_cast<unsigned>(plan.turns_at);
  call.shares_at = static_cast<unsigned>(plan.shares_at);
  call.early_at = static_cast<unsigned>(plan.early_at);
  call.barriers_at = static_cast<unsigned>(plan.barriers_at);
  call.rope_scaling = step.rope_scaling;
  call.epsilon = step.epsilon;
  call.norm_type = step.norm_type;
  if (step.shape.head_dimension == 64) return run_rows<64>(stream, call, plan.shared_bytes);
  run_rows<128>(stream, call, plan.shared_bytes);
}

}  // namespace xgen::cuda
