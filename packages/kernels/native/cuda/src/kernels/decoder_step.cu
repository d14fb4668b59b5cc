// A decoding step of a Llama-type decoder for a few sequences, one launch from the tokens to the logits.
//
// Bound by memory: every weight is read once, 2 bytes each; the 2.2 GB of 16 layers of width 2,048 take 0.66 ms at 3.35 TB/s. As a chain of kernels, the
// memory is idle wherever one ends and the next begins. Here weights do not wait for activations:
// - a block a processor, for the whole step. The weights of all layers are one stream to it, cut into pieces of rows, of 4 KB at most, that warps of their
//   own, the producers, have copied into a ring in shared memory (192 KB a processor); eight other warps take them by turns, two at once. While
//   blocks wait for each other, the ring runs full: 5 us of the memory's time on an H200, 7 us on an H100 (decoder_stream.h);
// - what one block computes and others need goes through arrays in device memory whose every value says itself whether it is there: no barrier of the
//   grid, no fence (decoder_exchange.h). It happens five times a layer: after qkv, attention, output, gate and up, down. What does not depend on that is
//   asked for before: norms, the cache's keys and values (decoder_spans.h, decoder_attention.h);
// - the tensor cores multiply (decoder_products.h), so that reading a piece costs few instructions and the blocks catch up after each wait;
// - every block normalises the rows of x itself;
// - the program is small, one loop over products with all code once: a layer runs through most of it, and instructions that do not fit the
//   processor's cache for them come from the second-level cache anew in every layer.
// What is left: of a layer's 34 us on an H200, 27 of them at the rate of a plain read, a block waits 4 for the last of the gate and up product's results, 5
// for attention and its exchanges, 3 for the last of the down product's; and the first product is done 10 us after the start.
//
// Activations are rounded where the operations apart (rms_norm, products, rope_append, paged_attention) store them.
#include <algorithm>

#include "decoder_attention.h"
#include "decoder_products.h"

namespace xgen::cuda {

namespace {

using namespace decoder;

constexpr const char* kName = "decoder_step";

// Threads of a block: those that compute, and a warpgroup, the unit in which registers change hands, of which some lanes are the producers.
#ifdef XGEN_CUDA_EMULATION
constexpr unsigned kBlockThreads = kThreads;
#else
constexpr unsigned kBlockThreads = kThreads + 4 * kWarp;
#endif

template <unsigned Rows, unsigned Size>
__global__ void __launch_bounds__(kBlockThreads, 1) decoder_step_kernel(const __grid_constant__ Call a) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  XGEN_DYNAMIC_SHARED(shared);
  XGEN_SHARED(float, scratch, kWarps * Rows);
  XGEN_SHARED(Span, spans, Rows);
  XGEN_SHARED(First, first, Rows);
  float* const turns = reinterpret_cast<float*>(shared + a.turns_at);
  Product* const products = reinterpret_cast<Product*>(shared + a.products_at);
  const unsigned product_number = product_count(a);
  Ring ring(shared, reinterpret_cast<std::uint64_t*>(shared + a.barriers_at), a.slots_count);
#ifdef XGEN_CUDA_EMULATION
  for (unsigned i = threadIdx.x; i < product_number; i += kThreads) products[i] = product_of(a, i);
#else
  if (threadIdx.x >= kThreads) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    hopper::give_registers<56>();
#endif
    // Weights are on their way before anything else is known, and warps that bring none clear what is exchanged.
    for (unsigned i = threadIdx.x - kThreads; i < product_number; i += kBlockThreads - kThreads) products[i] = product_of(a, i);
    if (threadIdx.x == kThreads) ring.init();
    asm volatile("bar.arrive 2, %0;" ::"n"(kBlockThreads) : "memory");
    asm volatile("bar.sync 3, %0;" ::"n"(kBlockThreads - kThreads) : "memory");
    const unsigned producer = threadIdx.x / kWarp - kWarps, lane = threadIdx.x % kWarp;
    if (producer >= kProducers) {
      constexpr unsigned kClearing = kBlockThreads - kThreads - kProducers * kWarp;
      clear_exchange(a, typename Attention<Rows, Size>::Split(a).most_used, threadIdx.x % kClearing, kClearing);
      asm volatile("bar.sync 4, %0;" ::"n"(kClearing) : "memory");
      if (threadIdx.x % kClearing == 0) announce_cleared(a);
    } else if (lane < 2) {
      ring.produce(products, product_number, producer, lane);
    }
    return;
  }
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  hopper::take_registers<224>();
#endif
#endif
  // What each takes a few trips to memory, by warps of its own.
  const typename Attention<Rows, Size>::Split splitting(a);
  constexpr unsigned kLastWarp = kThreads - kWarp;
  if (threadIdx.x < a.rows) spans[threadIdx.x] = span_of(a, splitting, threadIdx.x);
  if (threadIdx.x >= kWarp && threadIdx.x < kLastWarp) turns_of<Size>(a, turns, threadIdx.x - kWarp, kLastWarp - kWarp);
  if (threadIdx.x >= kLastWarp && threadIdx.x < kLastWarp + a.rows) {
    const First own = first_of(a, threadIdx.x - kLastWarp);
    first[threadIdx.x - kLastWarp] = own;
    bring_share(own.row, a.width, own.type);
  }
  if (threadIdx.x == kThreads - 1) bring_share(a.layers[0].attention_norm, a.width, a.norm_type);
#ifdef XGEN_CUDA_EMULATION
  clear_exchange(a, splitting.most_used, threadIdx.x, kThreads);
  __syncthreads();
  ring.start(products, product_number);
#else
  asm volatile("bar.sync 2, %0;" ::"n"(kBlockThreads) : "memory");  // the producers have made the products and the ring
#endif
  bfloat16* const x = reinterpret_cast<bfloat16*>(shared + a.x_at);
  Attention<Rows, Size> attention(a, splitting, spans, turns, reinterpret_cast<int*>(shared + a.window_at), reinterpret_cast<float*>(x));
  attention.bring(0);
  Block<Rows, Size> block = {a, x, reinterpret_cast<float*>(shared + a.sums_at), scratch, first, ring, threadIdx.x / kWarp};

  // All kinds of product in one loop: instructions stay in their cache.
  const bfloat16* stream = nullptr;
#pragma unroll 1
  for (unsigned number = 0; number < product_number; number++) {
    const Product product = products[number];
    const unsigned layer = product.layer, kind = product.kind;
    const Exchange exchange(a, layer);
    if (product.chunk > 0) {
      XGEN_SYNC_WORKERS();  // x is as it was, and the sums before have been read
    } else if (kind == kOutput) {
      attention.attend(layer, exchange);
      block.load(exchange.attended, product.depth);
    } else if (kind == kDown) {
      block.load(exchange.activation, product.depth);
    } else {
      if (kind == kQkv) attention.load_first(layer);
      const void* const norm = kind == kHead ? a.final_norm : kind == kQkv ? a.layers[layer].attention_norm : a.layers[layer].feed_forward_norm;
      if (layer > 0 && kind != kGateUp) stream = Exchange(a, layer - 1).out;
      block.load_normalized(kind == kGateUp ? exchange.middle : stream, norm);
      if (number == 0) wait_for_cleared(a);
    }
    const Addend addend = {kind == kOutput ? stream : kind == kDown ? exchange.middle : nullptr, kind == kOutput && layer == 0 ? first : nullptr};
    const std::uint16_t first_residual = block.residual_of(product, addend);
    block.multiply(product);
    block.results(product, addend, first_residual, [&](unsigned row, unsigned output, float result, float gate) {
      if (kind == kHead) {
        store1(a.logits, a.logits_type, std::size_t{row} * a.vocabulary + output, result);
        return;
      }
      bfloat16* to = exchange.qkv + row * a.heads.row();
      if (kind == kOutput) to = exchange.middle + row * a.width;
      if (kind == kDown) to = exchange.out + row * a.width;
      if (kind == kGateUp) {
        to = exchange.activation + row * a.feed_forward;
        gate = rounded(gate);
        result = gate * (sigmoid(gate) * rounded(result));
      }
      publish(to + output, result);
    });
    if (kind == kGateUp && product.chunk == 0 && layer + 1 < a.layer_count) attention.bring(layer + 1);
  }
  // Nobody waits for anything any more, or reads what advances.
  if (threadIdx.x == 0 && atomicAdd(a.counters + 1, 1u) + 1 == gridDim.x) {
    a.counters[0] = a.counters[1] = 0;
    for (unsigned row = 0; a.advance && row < a.rows; row++) {
      for (std::int32_t* const counter : {a.positions, a.slots, a.context_lengths}) counter[row] = static_cast<std::int32_t>(static_cast<std::uint32_t>(counter[row]) + 1);
    }
  }
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

// As many slots as a ring may have: see Ring.
std::size_t slots_of(std::size_t fitting) { return fitting >= kPace + kWarps ? fitting / kProducers * kProducers : fitting / kWarps * kWarps; }

struct Plan {
  unsigned splits, head_splits, slots_count, segments[kKinds], chunks[kKinds];
  std::size_t x_at, sums_at, turns_at, products_at, window_at, barriers_at, shared_bytes;
  ExchangePlaces places;
  std::size_t layer_bytes, split_bytes, workspace_bytes;
};

Plan plan_of(const DecoderStep& step) {
  const AttentionShape& shape = step.shape;
  const std::size_t pairs = step.rows * shape.key_value_heads, heads_width = shape.query_heads * shape.head_dimension, blocks = grid_blocks();
  const unsigned rows = compiled_rows(step.rows);
  Plan plan = {};
  plan.splits = static_cast<unsigned>(std::max<std::size_t>(1, multiprocessors() / pairs));
  plan.head_splits = static_cast<unsigned>(multiprocessors() / (pairs * shape.group()));
  // Products are cut so that a block has kMostPairs pairs of pieces of one at most, or as few as can be.
#ifdef XGEN_CUDA_EMULATION
  constexpr std::size_t kMostPairs = 512;  // one block has all outputs
#else
  constexpr std::size_t kMostPairs = 64;
#endif
  const std::size_t outputs[kKinds] = {shape.row(), step.width, step.feed_forward, step.width, step.vocabulary};
  const std::size_t depths[kKinds] = {step.width, heads_width, step.width, step.feed_forward, step.width};
  std::size_t pieces = 0, products = 0;
  for (unsigned kind = 0; kind < kKinds; kind++) {
    plan.segments[kind] = segments_of(depths[kind]);
    const auto pairs_of = [&](std::size_t chunks) {
      const std::size_t most = divide_up(divide_up(outputs[kind], chunks), blocks);
      return (kind == kGateUp ? most : divide_up(most, 2)) * plan.segments[kind];
    };
    std::size_t chunks = 1;
    while (pairs_of(chunks) > kMostPairs && chunks * blocks < outputs[kind]) chunks++;
    plan.chunks[kind] = static_cast<unsigned>(chunks);
    pieces = std::max(pieces, pairs_of(chunks));
    products += kind == kHead ? chunks : chunks * step.layer_count;
  }
  const std::size_t scratch = shape.head_dimension == 64 ? attention_scratch_floats<64>() : attention_scratch_floats<128>();
  const std::size_t x_bytes = std::max(rows * std::max({step.width, heads_width, step.feed_forward}) * sizeof(bfloat16), scratch * sizeof(float));
  const std::size_t sums_bytes = 2 * kParts * pieces * rows * sizeof(float), turns_bytes = rows * shape.head_dimension * sizeof(float);
  constexpr std::size_t kMostSlots = 24, kStaticBytes = 1024, kWindowBytes = kPrefetchedKeys * sizeof(int);
  constexpr std::size_t kBarriersBytes = 2 * kMostSlots * sizeof(std::uint64_t);
  const std::size_t products_bytes = products * sizeof(Product);
  const std::size_t fixed = align_up(x_bytes) + align_up(sums_bytes) + align_up(turns_bytes) + align_up(products_bytes) + kWindowBytes + kBarriersBytes +
                            kStaticBytes;
  const std::size_t most = most_shared_bytes();
  plan.slots_count = static_cast<unsigned>(slots_of(fixed > most ? 0 : std::min(kMostSlots, (most - fixed) / kSlotBytes)));
  plan.x_at = std::size_t{plan.slots_count} * kSlotBytes;
  plan.sums_at = plan.x_at + align_up(x_bytes);
  plan.turns_at = plan.sums_at + align_up(sums_bytes);
  plan.products_at = plan.turns_at + align_up(turns_bytes);
  plan.window_at = plan.products_at + align_up(products_bytes);
  plan.barriers_at = plan.window_at + kWindowBytes;
  plan.shared_bytes = plan.barriers_at + kBarriersBytes;

  std::size_t at = 0;
  const auto take = [&](std::size_t bytes) {
    const std::size_t from = at;
    at += align_up(bytes);
    return from;
  };
  const auto place = [&](std::size_t bytes) { return static_cast<unsigned>(take(bytes)); };
  plan.places.qkv = place(step.rows * shape.row() * sizeof(bfloat16));
  plan.places.attended = place(step.rows * heads_width * sizeof(bfloat16));
  plan.places.middle = place(step.rows * step.width * sizeof(bfloat16));
  plan.places.activation = place(step.rows * step.feed_forward * sizeof(bfloat16));
  plan.places.out = place(step.rows * step.width * sizeof(bfloat16));
  const std::size_t heads = pairs * shape.group();
  plan.split_bytes = heads * shape.head_dimension * sizeof(float);
  plan.places.statistics = place(plan.splits * heads * sizeof(Statistic));
  plan.places.partial = place(plan.splits * plan.split_bytes);
  plan.layer_bytes = at;
  plan.workspace_bytes = at * step.layer_count;
  return plan;
}

int shift_of(std::size_t block_size) {
  int shift = 0;
  while ((std::size_t{1} << shift) < block_size) shift++;
  return (std::size_t{1} << shift) == block_size ? shift : -1;
}

template <unsigned Rows, unsigned Size>
void run(Stream stream, const Call& call, std::size_t shared_bytes) {
  launch_following(Follow::together, 1, kName, decoder_step_kernel<Rows, Size>, static_cast<unsigned>(grid_blocks()), kBlockThreads, shared_bytes, stream,
                   call);
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
  constexpr std::size_t kMostOutputs = std::size_t{1} << 20, kMostLayerBytes = std::size_t{1} << 30, kMostCacheRows = std::size_t{1} << 30;
#ifndef XGEN_CUDA_EMULATION
  if (!launches_overlap()) return false;  // below Hopper
#endif
  if (step.rows == 0 || step.rows > kMostDecoderRows || step.layer_count == 0 || step.layer_count > kMostDecoderLayers) return false;
  if (shape.head_dimension != 64 && shape.head_dimension != 128) return false;
  if (step.width == 0 || step.feed_forward == 0 || step.vocabulary == 0 || step.width % kVector != 0 || step.feed_forward % kVector != 0) return false;
  if (std::max({step.width, step.feed_forward, step.vocabulary, shape.row()}) > kMostOutputs) return false;
  if (plan_of(step).layer_bytes > kMostLayerBytes) return false;
  if (step.cache_rows > kMostCacheRows || step.max_blocks * step.block_size > kMostCacheRows) return false;
  return plan_of(step).slots_count >= kWarps;
}

std::size_t decoder_step_workspace_bytes(const DecoderStep& step) { return plan_of(step).workspace_bytes; }

void decoder_step(Stream stream, const DecoderStep& step, void* workspace, std::uint32_t* counters, const DecoderErrors& errors) {
  static_assert(sizeof(Call) <= 4096);
  const Plan plan = plan_of(step);
  unsigned char* const memory = static_cast<unsigned char*>(workspace);
  Call call = {};
  std::copy_n(step.layers, step.layer_count, call.layers);
  const bool embedded = step.stream != nullptr;
  call.first = embedded ? step.stream : step.table;
  call.first_type = embedded ? ElementType::bfloat16 : step.table_type;
  call.ids = embedded ? nullptr : step.ids;
  call.table_rows = static_cast<unsigned>(step.table_rows);
  call.head = static_cast<const bfloat16*>(step.head);
  call.final_norm = step.final_norm;
  call.logits = step.logits.data;
  call.logits_type = step.logits.type;
  call.positions = step.positions;
  call.slots = step.slots;
  call.context_lengths = step.context_lengths;
  call.block_tables = step.block_tables;
  call.inverse_frequencies = step.inverse_frequencies;
  call.exchange = memory;
  call.layer_bytes = static_cast<unsigned>(plan.layer_bytes);
  call.split_bytes = static_cast<unsigned>(plan.split_bytes);
  call.places = plan.places;
  call.counters = counters;
  call.errors = errors;
  call.advance = step.advance;
  call.heads = heads_of(step.shape);
  call.rows = static_cast<unsigned>(step.rows);
  call.width = static_cast<unsigned>(step.width);
  call.feed_forward = static_cast<unsigned>(step.feed_forward);
  call.vocabulary = static_cast<unsigned>(step.vocabulary);
  call.layer_count = static_cast<unsigned>(step.layer_count);
  std::copy_n(plan.segments, kKinds, call.segments);
  std::copy_n(plan.chunks, kKinds, call.chunks);
  call.max_blocks = static_cast<unsigned>(step.max_blocks);
  call.block_size = static_cast<unsigned>(step.block_size);
  call.cache_blocks = static_cast<unsigned>(step.cache_rows / step.block_size);
  call.block_shift = shift_of(step.block_size);
  call.splits = plan.splits;
  call.head_splits = plan.head_splits;
  call.slots_count = plan.slots_count;
  call.x_at = static_cast<unsigned>(plan.x_at);
  call.sums_at = static_cast<unsigned>(plan.sums_at);
  call.turns_at = static_cast<unsigned>(plan.turns_at);
  call.products_at = static_cast<unsigned>(plan.products_at);
  call.window_at = static_cast<unsigned>(plan.window_at);
  call.barriers_at = static_cast<unsigned>(plan.barriers_at);
  call.rope_scaling = step.rope_scaling;
  call.epsilon = step.epsilon;
  call.norm_type = step.norm_type;
  if (step.shape.head_dimension == 64) return run_rows<64>(stream, call, plan.shared_bytes);
  run_rows<128>(stream, call, plan.shared_bytes);
}

}  // namespace xgen::cuda
