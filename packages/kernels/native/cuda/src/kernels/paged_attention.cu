// Attention of new tokens over a paged cache: which kernels take a batch.
//
// Sequences with up to kFewQueries new tokens are decoding, bound by memory: on the tensor cores (paged_decode_mma.cu), or in float32 arithmetic
// (paged_decode.cu). Longer ones (a prefill, or a chunk of one) take the tiles of attention_mma.cu and attention_general.cu.
#include <algorithm>

#include "paged_decode.h"

namespace xgen::cuda {

namespace {

constexpr const char* kName = "paged_attention";
constexpr unsigned kThreads = 128;
constexpr std::size_t kLeastKeys = 64;    // of a split
constexpr std::size_t kMostKeys = 8192;
constexpr std::size_t kMostSplits = 64;
constexpr std::size_t kMostTogether = 8;  // key-value heads of a block
constexpr double kFill = 1.2;             // blocks a processor that taking heads together must leave
constexpr std::size_t kBlocksEach = 2;    // that a processor holds at once, whatever the kernel's registers

// What is launched: known from sizes alone.
struct Plan {
  bool decode, tiles;
  unsigned splits, together;  // blocks that share a sequence's keys; key-value heads of a block
  std::size_t entries;        // rows of partial results
};

// Whether the tensor cores' kernels take these heads.
bool on_tensor_cores(ElementType type, const AttentionShape& shape) {
  return type == ElementType::bfloat16 && (shape.head_dimension == 64 || shape.head_dimension == 128);
}

// Key-value heads that a block of the tensor cores' kernel takes together: several where sequences are many, so that all blocks are on the device at
// once, and what a block does before its first key and after its last is done once (128 contexts of 525 on an H200: 34 us instead of 42).
std::size_t together_of(const PagedBatch& batch, const AttentionShape& shape) {
  std::size_t together = 1;
  const auto blocks = [&] { return batch.sequences * shape.key_value_heads / together; };
  while (together < kMostTogether && shape.key_value_heads % (2 * together) == 0 && blocks() / 2 >= kFill * multiprocessors()) together *= 2;
  return together;
}

Plan plan_of(const PagedBatch& batch, std::size_t tokens, const AttentionShape& shape, std::size_t together) {
  Plan plan = {false, false, 1, static_cast<unsigned>(together), 0};
  if (batch.sequences == 0 || tokens == 0) return plan;
  plan.tiles = tokens > kFewQueries * batch.sequences;
  plan.decode = !plan.tiles || batch.sequences > 1;
  if (!plan.decode) return plan;
  const std::size_t blocks = batch.sequences * (shape.key_value_heads / together), room = batch.max_blocks * batch.block_size;
  std::size_t splits = kBlocksEach * multiprocessors() / blocks;
  splits = std::min(std::max(splits, divide_up(room, kMostKeys)), divide_up(room, kLeastKeys));
  // Each sequence and head has a counter.
  splits = batch.sequences * shape.key_value_heads <= kPagedArrivals ? std::min(splits, kMostSplits) : 1;
  plan.splits = static_cast<unsigned>(std::max<std::size_t>(splits, 1));
  plan.entries = plan.tiles ? batch.sequences * kFewQueries : tokens;
  return plan;
}
Plan plan_of(const PagedBatch& batch, std::size_t tokens, const AttentionShape& shape, ElementType type) {
  return plan_of(batch, tokens, shape, on_tensor_cores(type, shape) ? together_of(batch, shape) : 1);
}

std::size_t units_of(const Plan& plan, const AttentionShape& shape) { return plan.splits > 1 ? plan.entries * shape.query_heads * plan.splits : 0; }

// A block for each sequence, before tiles that check nothing themselves.
__global__ void __launch_bounds__(kThreads) check_kernel(Pages pages, std::int64_t tokens, ErrorFlag* error) {
  const unsigned sequence = blockIdx.x;
  if (threadIdx.x == 0) check_sequence(pages, sequence, tokens, error);
  const PagedSequence lengths = paged_sequence(pages, sequence, tokens);
  const unsigned used = (static_cast<unsigned>(lengths.context) + pages.block_size - 1) / pages.block_size;
  for (unsigned i = threadIdx.x; i < used; i += kThreads) {
    const std::size_t at = std::size_t{sequence} * pages.max_blocks + i;
    const std::int32_t block = pages.block_tables[at];
    if (block < 0 || static_cast<unsigned>(block) >= pages.cache_blocks) report(error, DeviceError::block_tables, static_cast<std::int64_t>(at), block);
  }
}

int shift_of(std::size_t block_size) {
  int shift = 0;
  while ((std::size_t{1} << shift) < block_size) shift++;
  return (std::size_t{1} << shift) == block_size ? shift : -1;
}

template <class Q, class K>
void decode(Stream stream, const PagedForward<Q, K>& arguments, const Plan& plan, bool tensor_cores, std::size_t units, void* workspace,
            std::uint32_t* arrivals, ErrorFlag* error) {
  Decode<Q, K> call = {arguments, nullptr, nullptr, arrivals, error, plan.splits, shift_of(arguments.pages.block_size), !plan.tiles, plan.together};
  if (units > 0) {
    call.statistics = static_cast<SoftmaxStatistic*>(workspace);
    call.partial = reinterpret_cast<float*>(static_cast<unsigned char*>(workspace) + align_up(units * sizeof(SoftmaxStatistic)));
  }
  if constexpr (sizeof(Q) == sizeof(bfloat16)) {
    if (tensor_cores) return paged_decode_mma(stream, kName, call);
  }
  paged_decode(stream, kName, call);
}

template <class Q, class K>
void attend(Stream stream, ConstArray qkv, ConstArray key_cache, ConstArray value_cache, const PagedBatch& batch, Array out, std::size_t tokens,
            const AttentionShape& shape, void* workspace, std::uint32_t* arrivals, ErrorFlag* error) {
  const Plan plan = plan_of(batch, tokens, shape, qkv.type);
  const bool tensor_cores = on_tensor_cores(qkv.type, shape);
  const Pages pages = {batch.cumulative_query_lengths, batch.context_lengths, batch.block_tables, static_cast<unsigned>(batch.sequences),
                       static_cast<unsigned>(batch.max_blocks), static_cast<unsigned>(batch.block_size), static_cast<unsigned>(batch.cache_rows / batch.block_size)};
  const std::int32_t fewest = plan.decode ? static_cast<std::int32_t>(kFewQueries) + 1 : 0;
  const PagedForward<Q, K> arguments = {typed<Q>(qkv), typed<K>(key_cache), typed<K>(value_cache), typed<Q>(out), pages, tokens, heads_of(shape), fewest};
  if (plan.decode) decode(stream, arguments, plan, tensor_cores, units_of(plan, shape), workspace, arrivals, error);
  if (!plan.tiles) return;
  launch(kName, check_kernel, grid_of(kName, batch.sequences), kThreads, 0, stream, pages, static_cast<std::int64_t>(tokens), error);
  if constexpr (sizeof(Q) == sizeof(bfloat16)) {
    if (tensor_cores) return paged_attention_mma(stream, arguments);
  }
  paged_attention_general(stream, arguments);
}

}  // namespace

std::size_t paged_attention_workspace_bytes(const PagedBatch& batch, std::size_t tokens, const AttentionShape& shape) {
  const auto units_with = [&](ElementType type) { return units_of(plan_of(batch, tokens, shape, type), shape); };
  const std::size_t units = std::max(units_with(ElementType::float32), units_with(ElementType::bfloat16));
  return align_up(units * sizeof(SoftmaxStatistic)) + units * shape.head_dimension * sizeof(float) + 16;
}

void paged_attention(Stream stream, ConstArray qkv, ConstArray key_cache, ConstArray value_cache, const PagedBatch& batch, Array out,
                     std::size_t tokens, const AttentionShape& shape, void* workspace, std::uint32_t* arrivals, ErrorFlag* error) {
  require_same(kName, qkv.type, out.type);
  require_same(kName, key_cache.type, value_cache.type);
  const auto run = [&](auto q, auto k) {
    attend<decltype(q), decltype(k)>(stream, qkv, key_cache, value_cache, batch, out, tokens, shape, workspace, arrivals, error);
  };
  with_float(kName, qkv.type, [&](auto q) {
    with_float(kName, key_cache.type, [&](auto k) {
      if constexpr (sizeof(q) <= sizeof(float) && sizeof(k) <= sizeof(q)) {
        run(q, k);
      } else {
        fail_launch(kName, "bfloat16 queries need bfloat16 caches");
      }
    });
  });
}

}  // namespace xgen::cuda
