// Attention of new tokens over a paged cache.
//
// Decoding is bound by memory: each cached key and value is read once, 4 * head_dimension bytes in bfloat16 for 4 * head_dimension *
// group operations, far below what the cores can do. So all query heads of a group share one read, in 16-byte loads; a block's four
// warps have some 16 KB of them under way, about what a processor of an H100 needs to hide its memory's latency (25 GB/s times 600 ns).
// A sequence's keys are split over as many blocks as fill the device once; the split's length follows from the lengths in device memory,
// so that a graph can be replayed while they grow. The block of a sequence and head that is done last merges its splits, in their order.
//
// A short context is bound by latency: a chain of lengths, tables, keys, and a merge. So before its inputs are known to be up to date a block reads the
// lengths and tables as they are, guesses from them where its first keys lie, and asks for those to be brought into the second-level cache;
// afterwards it loads from there at once, and reads the lengths and tables beside: only where they tell otherwise does it load again.
//
// Sequences with more than a few new tokens (a prefill, or a chunk of one) take the tiles of attention_mma.cu and attention_general.cu.
#include "attention.h"

namespace xgen::cuda {

namespace {

constexpr const char* kName = "paged_attention";
constexpr unsigned kThreads = 128;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kUnroll = 4;         // keys of a lane whose loads are under way together
constexpr std::size_t kFew = 4;         // new tokens of a sequence that the decoding kernel takes where tiles are launched too
constexpr std::size_t kLeastKeys = 64;  // of a split
constexpr std::size_t kMostKeys = 8192;
constexpr std::size_t kMostSplits = 64;
constexpr unsigned kAhead = 16;         // splits whose results are loaded together
constexpr unsigned kLine = 128;         // bytes of the caches' lines
constexpr std::size_t kBlocksEach = 2;  // that a processor holds at once, whatever the kernel's registers

// What is launched: known from sizes alone.
struct Plan {
  bool decode, tiles;
  unsigned splits;
  std::size_t entries;  // rows of partial results
};

Plan plan_of(const PagedBatch& batch, std::size_t tokens, const AttentionShape& shape) {
  Plan plan = {false, false, 1, 0};
  if (batch.sequences == 0 || tokens == 0) return plan;
  plan.tiles = tokens > kFew * batch.sequences;
  plan.decode = !plan.tiles || batch.sequences > 1;
  if (!plan.decode) return plan;
  const std::size_t blocks = batch.sequences * shape.key_value_heads, room = batch.max_blocks * batch.block_size;
  std::size_t splits = kBlocksEach * multiprocessors() / blocks;
  splits = splits > divide_up(room, kMostKeys) ? splits : divide_up(room, kMostKeys);
  splits = splits < divide_up(room, kLeastKeys) ? splits : divide_up(room, kLeastKeys);
  splits = splits < kMostSplits && blocks <= kPagedArrivals ? splits : (blocks <= kPagedArrivals ? kMostSplits : 1);
  plan.splits = splits > 1 ? static_cast<unsigned>(splits) : 1;
  plan.entries = plan.tiles ? batch.sequences * kFew : tokens;
  return plan;
}

std::size_t units_of(const Plan& plan, const AttentionShape& shape) { return plan.splits > 1 ? plan.entries * shape.query_heads * plan.splits : 0; }

// ------------------------------------------------------------------------------------------------------------ checking

__device__ void check_sequence(const Pages& pages, unsigned sequence, std::int64_t tokens, ErrorFlag* error) {
  const std::int32_t first = pages.cumulative_query_lengths[sequence], last = pages.cumulative_query_lengths[sequence + 1];
  if (sequence == 0 && first != 0) report(error, DeviceError::cumulative_lengths, 0, first);
  if (last < first || (sequence + 1 == pages.sequences && last != tokens)) report(error, DeviceError::cumulative_lengths, std::int64_t{sequence} + 1, last);
  const PagedSequence lengths = paged_sequence(pages, sequence, tokens);
  if (lengths.bad) report(error, DeviceError::context_lengths, sequence, lengths.context_given);
}

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

// ------------------------------------------------------------------------------------------------------------ decoding

// Eight elements as they lie in memory.
template <class T>
struct Raw;
template <>
struct Raw<bfloat16> {
  uint4 bits;
};
template <>
struct Raw<float> {
  float4 low, high;
};
__device__ __forceinline__ void load_raw(Raw<bfloat16>& to, const bfloat16* from) { to.bits = load_aligned<uint4>(from); }
__device__ __forceinline__ void load_raw(Raw<float>& to, const float* from) {
  to.low = load_aligned<float4>(from);
  to.high = load_aligned<float4>(from + 4);
}
__device__ __forceinline__ Floats8 unpack(const Raw<bfloat16>& raw) {
  const uint4& a = raw.bits;
  return {{low_bfloat16(a.x), high_bfloat16(a.x), low_bfloat16(a.y), high_bfloat16(a.y), low_bfloat16(a.z), high_bfloat16(a.z), low_bfloat16(a.w),
           high_bfloat16(a.w)}};
}
__device__ __forceinline__ Floats8 unpack(const Raw<float>& raw) {
  return {{raw.low.x, raw.low.y, raw.low.z, raw.low.w, raw.high.x, raw.high.y, raw.high.z, raw.high.w}};
}
__device__ __forceinline__ void pack(const Floats8& x, Raw<float>& to) {
  to.low = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
  to.high = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
}
__device__ __forceinline__ void pack(const Floats8& x, Raw<bfloat16>& to) {
  to.bits = make_uint4(pack_bfloat16(x.v[0], x.v[1]), pack_bfloat16(x.v[2], x.v[3]), pack_bfloat16(x.v[4], x.v[5]), pack_bfloat16(x.v[6], x.v[7]));
}

// A lane's eight elements of a head from element d on; zeros past its end. `exact`: the head has none.
template <bool exact, class T>
__device__ __forceinline__ Raw<T> load_part(const T* head, unsigned d, unsigned head_dimension) {
  Raw<T> raw = {};
  if (exact || (head_dimension % kVector == 0 && d < head_dimension)) {
    load_raw(raw, head + d);
  } else if (d < head_dimension) {
    Floats8 x = {};
#pragma unroll
    for (unsigned j = 0; j < kVector; j++) {
      if (d + j < head_dimension) x.v[j] = to_float(head[d + j]);
    }
    pack(x, raw);
  }
  return raw;
}

// Running softmax of one split: of exponents in base 2.
struct alignas(8) Statistic {
  float maximum, total;
};

// What another block of this grid has written and announced: from the second-level cache, as the first-level cache may hold what was there before.
template <class T>
__device__ __forceinline__ T load_shared_result(const T* from) {
#ifdef XGEN_CUDA_EMULATION
  return *from;
#else
  return __ldcg(from);
#endif
}
__device__ __forceinline__ Statistic load_shared_result(const Statistic* from) {
#ifdef XGEN_CUDA_EMULATION
  return *from;
#else
  const float2 both = __ldcg(reinterpret_cast<const float2*>(from));
  return {both.x, both.y};
#endif
}

template <class Q, class K>
struct Decode {
  PagedForward<Q, K> a;
  Statistic* statistics;  // [entries][query heads][splits]; both null where there is one split
  float* partial;         // likewise, times the head's elements, divided by nothing
  std::uint32_t* arrivals;  // [sequences][key-value heads]: blocks that are done; 0 before and after
  ErrorFlag* error;
  unsigned splits;
  int block_shift;  // block_size is 2 to this power, or -1
  bool by_token;    // entries are tokens; else kFew for each sequence, and longer ones are left to tiles
};

// Block (split, sequence, key-value head). Eight elements of a head are one lane's; `Size` / 8 lanes have a key, and keep `Rows` query rows
// (new tokens times heads of the group) of their own running softmax, joined at the end.
template <class Q, class K, unsigned Size, unsigned Rows, bool exact>
__global__ void __launch_bounds__(kThreads) decode_kernel(Decode<Q, K> call) {
  constexpr unsigned lanes = Size / kVector, stride = kWarps * (kWarp / lanes), tile = stride * kUnroll;
  XGEN_SHARED(float, warp_sums, kWarps * Rows * Size);
  XGEN_SHARED(Statistic, warp_statistics, kWarps * Rows);
  allow_next();
  const Heads& heads = call.a.heads;
  const Pages& pages = call.a.pages;
  const unsigned head = blockIdx.x % heads.key_value_heads, at = blockIdx.x / heads.key_value_heads;
  const unsigned sequence = at % pages.sequences, split = at / pages.sequences;
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned own = warp * (kWarp / lanes) + lane / lanes, d = lane % lanes * kVector;
  const std::int64_t tokens = static_cast<std::int64_t>(call.a.tokens);

  struct Span {
    unsigned begin, end;
  };
  const auto span_of = [&](const PagedSequence& lengths) -> Span {
    const unsigned context = static_cast<unsigned>(lengths.context);
    const unsigned length = ((context + call.splits - 1) / call.splits + tile - 1) / tile * tile;
    const unsigned begin = split * length < context ? split * length : context;
    return {begin, begin + length < context ? begin + length : context};
  };
  // The lane's keys of the tile at p0, whose blocks the table names: `blocks`, or kUnused past the end.
  const auto block_of = [&](unsigned position) { return call.block_shift >= 0 ? position >> call.block_shift : position / pages.block_size; };
  const auto look_up = [&](std::int32_t(&blocks)[kUnroll], unsigned p0, unsigned end, auto read) {
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) {
      const unsigned position = p0 + u * stride + own;
      blocks[u] = position < end ? read(pages.block_tables + std::size_t{sequence} * pages.max_blocks + block_of(position)) : kUnused;
    }
  };
  const auto is_there = [&](std::int32_t block) { return block >= 0 && static_cast<unsigned>(block) < pages.cache_blocks; };
  const auto offset_of = [&](std::int32_t block, unsigned position) {
    const std::size_t row = std::size_t{static_cast<unsigned>(block)} * pages.block_size + (position - block_of(position) * pages.block_size);
    return (row * heads.key_value_heads + head) * heads.head_dimension;
  };
  Raw<K> keys[kUnroll], values[kUnroll];
  const auto load = [&](Raw<K>(&to)[kUnroll], const K* cache, const std::int32_t(&blocks)[kUnroll], unsigned p0) {
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) {
      to[u] = {};
      if (is_there(blocks[u])) to[u] = load_part<exact>(cache + offset_of(blocks[u], p0 + u * stride + own), d, heads.head_dimension);
    }
  };

  // What memory says now may be about to change: it only leads to addresses inside the caches. Past the first-level cache, so that nothing
  // old stays there.
  const auto early = [](const std::int32_t* from) {
#ifdef XGEN_CUDA_EMULATION
    return emulation::stale(*from);
#else
    return __ldcg(from);
#endif
  };
  const auto now = [](const std::int32_t* from) { return *from; };
  const Span guess = span_of(paged_sequence(pages, sequence, tokens, early));
  std::int32_t guessed[kUnroll];
  look_up(guessed, guess.begin, guess.end, early);
#pragma unroll
  for (unsigned u = 0; u < kUnroll; u++) {
    if (!is_there(guessed[u]) || d * sizeof(K) % kLine != 0 || d >= heads.head_dimension) continue;
    const std::size_t offset = offset_of(guessed[u], guess.begin + u * stride + own) + d;
    prefetch_line(call.a.key_cache + offset);
    prefetch_line(call.a.value_cache + offset);
  }
  wait_for_previous();
  const PagedSequence lengths = paged_sequence(pages, sequence, tokens, now);
  load(keys, call.a.key_cache, guessed, guess.begin);
  load(values, call.a.value_cache, guessed, guess.begin);
  bool fresh = true;  // they are those of the guess

  if (lengths.queries == 0 || (!call.by_token && lengths.queries > static_cast<std::int32_t>(kFew))) {
    if (split == 0 && head == 0 && threadIdx.x == 0) check_sequence(pages, sequence, tokens, call.error);
    return;
  }
  const unsigned context = static_cast<unsigned>(lengths.context), queries = static_cast<unsigned>(lengths.queries);
  const Span span = span_of(lengths);
  const unsigned begin = span.begin, end = span.end;
  const unsigned rows = queries * heads.group;
  const float factor = heads.scale * kLog2E;
  const auto unit_of = [&](unsigned row) {
    const std::size_t entry = call.by_token ? static_cast<std::size_t>(lengths.first_token) + row / heads.group : sequence * kFew + row / heads.group;
    return (entry * heads.query_heads + head * heads.group + row % heads.group) * call.splits + split;
  };
  // A split without keys only says so.
  const bool empty = call.splits > 1 && begin >= end;
  for (unsigned row = threadIdx.x; empty && row < rows; row += kThreads) call.statistics[unit_of(row)] = {-infinity(), 0.0f};

  const auto report_missing = [&](const std::int32_t(&blocks)[kUnroll], unsigned p0) {
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) {
      const unsigned position = p0 + u * stride + own;
      if (d != 0 || position >= end || is_there(blocks[u])) continue;
      report(call.error, DeviceError::block_tables, static_cast<std::int64_t>(std::size_t{sequence} * pages.max_blocks + block_of(position)), blocks[u]);
    }
  };

  for (unsigned row0 = 0; row0 < (empty ? 0 : rows); row0 += Rows) {
    std::int32_t blocks[kUnroll];
    look_up(blocks, begin, end, now);
    float query[Rows][kVector], sums[Rows][kVector], largest[Rows], total[Rows];
    unsigned seen[Rows];  // positions before this one
#pragma unroll
    for (unsigned r = 0; r < Rows; r++) {
      const unsigned row = row0 + r, token = row / heads.group;
      const bool active = row < rows && context > 0;
      Floats8 x = {};
      if (active) {
        const Q* const from = call.a.qkv + (static_cast<std::size_t>(lengths.first_token) + token) * heads.row() + heads.query(head * heads.group + row % heads.group);
        x = unpack(load_part<exact>(from, d, heads.head_dimension));
      }
      seen[r] = active ? context - queries + token + 1 : 0;
      largest[r] = -infinity();
      total[r] = 0.0f;
#pragma unroll
      for (unsigned j = 0; j < kVector; j++) {
        query[r][j] = x.v[j] * factor;
        sums[r][j] = 0.0f;
      }
    }
    bool right = fresh && begin == guess.begin;
#pragma unroll
    for (unsigned u = 0; u < kUnroll; u++) right = right && blocks[u] == guessed[u];
    if (!right) {
      load(keys, call.a.key_cache, blocks, begin);
      load(values, call.a.value_cache, blocks, begin);
    }
    fresh = false;
    for (unsigned p0 = begin; p0 < end; p0 += tile) {
      report_missing(blocks, p0);
      std::int32_t following[kUnroll];
      look_up(following, p0 + tile, end, now);
      float scores[kUnroll][Rows];
#pragma unroll
      for (unsigned u = 0; u < kUnroll; u++) {
        const Floats8 key = unpack(keys[u]);
#pragma unroll
        for (unsigned r = 0; r < Rows; r++) {
          float dot = 0.0f;
#pragma unroll
          for (unsigned j = 0; j < kVector; j++) dot += query[r][j] * key.v[j];
          dot = warp_reduce<lanes>(dot, Add{});
          scores[u][r] = is_there(blocks[u]) && p0 + u * stride + own < seen[r] ? dot : -infinity();
        }
      }
      load(keys, call.a.key_cache, following, p0 + tile);
#pragma unroll
      for (unsigned r = 0; r < Rows; r++) {
        float maximum = largest[r];
#pragma unroll
        for (unsigned u = 0; u < kUnroll; u++) maximum = fmaxf(maximum, scores[u][r]);
        const float base = maximum == -infinity() ? 0.0f : maximum, shrink = exp2_fast(largest[r] - base);
        largest[r] = maximum;
        total[r] *= shrink;
#pragma unroll
        for (unsigned j = 0; j < kVector; j++) sums[r][j] *= shrink;
#pragma unroll
        for (unsigned u = 0; u < kUnroll; u++) {
          scores[u][r] = exp2_fast(scores[u][r] - base);
          total[r] += scores[u][r];
        }
      }
#pragma unroll
      for (unsigned u = 0; u < kUnroll; u++) {
        const Floats8 value = unpack(values[u]);
#pragma unroll
        for (unsigned r = 0; r < Rows; r++) {
#pragma unroll
          for (unsigned j = 0; j < kVector; j++) sums[r][j] += scores[u][r] * value.v[j];
        }
      }
      load(values, call.a.value_cache, following, p0 + tile);
#pragma unroll
      for (unsigned u = 0; u < kUnroll; u++) blocks[u] = following[u];
    }
    // The warp's groups of lanes, then the warps.
#pragma unroll
    for (unsigned r = 0; r < Rows; r++) {
#pragma unroll
      for (unsigned step = lanes; step < kWarp; step *= 2) {
        const float other_largest = __shfl_xor_sync(kFullMask, largest[r], static_cast<int>(step)), maximum = fmaxf(largest[r], other_largest);
        const float base = maximum == -infinity() ? 0.0f : maximum;
        const float shrink = exp2_fast(largest[r] - base), other_shrink = exp2_fast(other_largest - base);
        total[r] = total[r] * shrink + __shfl_xor_sync(kFullMask, total[r], static_cast<int>(step)) * other_shrink;
#pragma unroll
        for (unsigned j = 0; j < kVector; j++) {
          sums[r][j] = sums[r][j] * shrink + __shfl_xor_sync(kFullMask, sums[r][j], static_cast<int>(step)) * other_shrink;
        }
        largest[r] = maximum;
      }
      if (lane < lanes) {
        store8(warp_sums + (warp * Rows + r) * Size + d, Floats8{{sums[r][0], sums[r][1], sums[r][2], sums[r][3], sums[r][4], sums[r][5], sums[r][6], sums[r][7]}});
        if (lane == 0) warp_statistics[warp * Rows + r] = {largest[r], total[r]};
      }
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < Rows * Size; i += kThreads) {
      const unsigned r = i / Size, element = i % Size, row = row0 + r;
      if (row >= rows || element >= heads.head_dimension) continue;
      float maximum = -infinity(), sum = 0.0f, result = 0.0f;
#pragma unroll
      for (unsigned w = 0; w < kWarps; w++) maximum = fmaxf(maximum, warp_statistics[w * Rows + r].maximum);
      const float base = maximum == -infinity() ? 0.0f : maximum;
#pragma unroll
      for (unsigned w = 0; w < kWarps; w++) {
        const float shrink = exp2_fast(warp_statistics[w * Rows + r].maximum - base);
        sum += warp_statistics[w * Rows + r].total * shrink;
        result += warp_sums[(w * Rows + r) * Size + element] * shrink;
      }
      if (call.splits == 1) {
        Q* const to = call.a.out + (static_cast<std::size_t>(lengths.first_token) + row / heads.group) * heads.out_row() + heads.query(head * heads.group + row % heads.group);
        from_float(sum > 0.0f ? result / sum : 0.0f, to[element]);
      } else {
        call.partial[unit_of(row) * heads.head_dimension + element] = result;
        if (element == 0) call.statistics[unit_of(row)] = {maximum, sum};
      }
    }
    __syncthreads();  // before the next rows' results
  }
  if (split == 0 && head == 0 && threadIdx.x == 0) check_sequence(pages, sequence, tokens, call.error);
  if (call.splits == 1) return;

  XGEN_SHARED(bool, last, 1);
  std::uint32_t* const arrivals = call.arrivals + std::size_t{sequence} * heads.key_value_heads + head;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) *last = atomicAdd(arrivals, 1u) + 1 == call.splits;
  __syncthreads();
  if (!*last) return;
  if (threadIdx.x == 0) *arrivals = 0;
  __threadfence();
  // A trip to memory for each kAhead splits: their statistics and sums together.
  for (unsigned i = threadIdx.x; i < rows * Size; i += kThreads) {
    const unsigned row = i / Size, element = i % Size;
    if (element >= heads.head_dimension) continue;
    const std::size_t unit = unit_of(row) - split;
    float maximum = -infinity(), sum = 0.0f, result = 0.0f;
    for (unsigned first = 0; first < call.splits; first += kAhead) {
      Statistic statistics[kAhead];
      float parts[kAhead];
#pragma unroll
      for (unsigned k = 0; k < kAhead; k++) {
        statistics[k] = {-infinity(), 0.0f};
        parts[k] = 0.0f;
        if (first + k >= call.splits) continue;
        statistics[k] = load_shared_result(call.statistics + unit + first + k);
        parts[k] = load_shared_result(call.partial + (unit + first + k) * heads.head_dimension + element);
      }
      const float before = maximum;
#pragma unroll
      for (unsigned k = 0; k < kAhead; k++) maximum = fmaxf(maximum, statistics[k].maximum);
      const float base = maximum == -infinity() ? 0.0f : maximum, shrink = exp2_fast(before - base);
      sum *= shrink;
      result *= shrink;
#pragma unroll
      for (unsigned k = 0; k < kAhead; k++) {
        const float share = exp2_fast(statistics[k].maximum - base);
        sum += statistics[k].total * share;
        // A split without keys has written no sums.
        if (statistics[k].total > 0.0f) result += parts[k] * share;
      }
    }
    Q* const to = call.a.out + (static_cast<std::size_t>(lengths.first_token) + row / heads.group) * heads.out_row() + heads.query(head * heads.group + row % heads.group);
    from_float(sum > 0.0f ? result / sum : 0.0f, to[element]);
  }
}

int shift_of(std::size_t block_size) {
  int shift = 0;
  while ((std::size_t{1} << shift) < block_size) shift++;
  return (std::size_t{1} << shift) == block_size ? shift : -1;
}

template <class Q, class K>
void decode(Stream stream, const PagedForward<Q, K>& arguments, const Plan& plan, std::size_t units, void* workspace, std::uint32_t* arrivals, ErrorFlag* error) {
  Decode<Q, K> call = {arguments, nullptr, nullptr, arrivals, error, plan.splits, shift_of(arguments.pages.block_size), !plan.tiles};
  if (units > 0) {
    call.statistics = static_cast<Statistic*>(workspace);
    call.partial = reinterpret_cast<float*>(static_cast<unsigned char*>(workspace) + align_up(units * sizeof(Statistic)));
  }
  const Heads& heads = arguments.heads;
  const unsigned grid = grid_of(kName, std::size_t{plan.splits} * arguments.pages.sequences * heads.key_value_heads);
  const auto run = [&](auto kernel) { launch_early(kName, kernel, grid, kThreads, 0, stream, call); };
  if (heads.head_dimension == 64) {
    if (heads.group == 1) run(decode_kernel<Q, K, 64, 1, true>);
    else if (heads.group <= 4) run(decode_kernel<Q, K, 64, 4, true>);
    else run(decode_kernel<Q, K, 64, 8, true>);
  } else if (heads.head_dimension == 128) {
    if (heads.group == 1) run(decode_kernel<Q, K, 128, 1, true>);
    else if (heads.group <= 4) run(decode_kernel<Q, K, 128, 4, true>);
    else run(decode_kernel<Q, K, 128, 8, true>);
  } else if (heads.head_dimension < 128) {
    run(decode_kernel<Q, K, 128, 4, false>);
  } else {
    run(decode_kernel<Q, K, 256, 4, false>);
  }
}

template <class Q, class K>
void attend(Stream stream, ConstArray qkv, ConstArray key_cache, ConstArray value_cache, const PagedBatch& batch, Array out, std::size_t tokens,
            const AttentionShape& shape, void* workspace, std::uint32_t* arrivals, ErrorFlag* error) {
  const Plan plan = plan_of(batch, tokens, shape);
  const Pages pages = {batch.cumulative_query_lengths, batch.context_lengths, batch.block_tables, static_cast<unsigned>(batch.sequences),
                       static_cast<unsigned>(batch.max_blocks), static_cast<unsigned>(batch.block_size), static_cast<unsigned>(batch.cache_rows / batch.block_size)};
  const std::int32_t fewest = plan.decode ? static_cast<std::int32_t>(kFew) + 1 : 0;
  const PagedForward<Q, K> arguments = {typed<Q>(qkv), typed<K>(key_cache), typed<K>(value_cache), typed<Q>(out), pages, tokens, heads_of(shape), fewest};
  if (plan.decode) decode(stream, arguments, plan, units_of(plan, shape), workspace, arrivals, error);
  if (!plan.tiles) return;
  launch(kName, check_kernel, grid_of(kName, batch.sequences), kThreads, 0, stream, pages, static_cast<std::int64_t>(tokens), error);
  if constexpr (sizeof(Q) == sizeof(bfloat16)) {
    if (shape.head_dimension == 64 || shape.head_dimension == 128) return paged_attention_mma(stream, arguments);
  }
  paged_attention_general(stream, arguments);
}

}  // namespace

std::size_t paged_attention_workspace_bytes(const PagedBatch& batch, std::size_t tokens, const AttentionShape& shape) {
  const std::size_t units = units_of(plan_of(batch, tokens, shape), shape);
  return align_up(units * sizeof(Statistic)) + units * shape.head_dimension * sizeof(float) + 16;
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
