// Drawing a token from each row of logits, in two launches. The first reads a row in pieces of 2,048, a block for each: its extremes and the
// sum of its exponentials, which are all that a greedy choice and the log-probability need. The second has a block for each row: it joins the
// pieces in their order, and for rows with a temperature does top-k, top-p, min-p and the draw.
//
// Probabilities are integers (units of 2^-44 of the largest), so sums over any threads in any order are the same bits and
// nothing is sorted. A filter keeps the best tokens up to one, its cut, which is found in two steps: in a histogram of even steps
// between the largest and the smallest logit (even, so that the many logits of middling size don't meet in one bin), then digit by
// digit among the few tokens of one bin, by logit and id together, which no two tokens share.
//
// To draw, a row is read from the second-level cache twice, and twice more for each of top-k and top-p: some 5 us a time for 131,072 logits in
// float32 at the 64 bytes a clock that one processor takes in.
#include "xgen/cuda/device.h"

namespace xgen::cuda {

namespace {

constexpr const char* kName = "sample_tokens";
constexpr unsigned kThreads = 512;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kBins = 2 * kThreads;
constexpr unsigned kDigits = 256;
constexpr unsigned kIdBits = 24;
constexpr std::size_t kMostTokens = std::size_t{1} << 19;  // their sum is below 2^63

using Mass = unsigned long long;
constexpr float kUnits = 17592186044416.0f;  // 2^44
constexpr Mass kAll = ~Mass{0};

__device__ __forceinline__ Mass mass_of(float weight) { return static_cast<Mass>(weight * kUnits); }

// Rank: less is better. The larger logit first, then the lower id.
__device__ __forceinline__ Mass rank_of(float logit, unsigned id) { return Mass{falling_order(logit)} << kIdBits | id; }

struct Row {
  const void* logits;
  ElementType type;
  std::size_t start;
  unsigned count;

  // What is no number counts as impossible.
  __device__ float at(unsigned id) const { return clean(load1(logits, type, start + id)); }
  __device__ static float clean(float x) { return x == x ? x : -infinity(); }

  // f(id, logit) for the entries first ... last - 1 (first a multiple of eight), spread over `threads` of which this is `thread`; ids rise.
  template <class F>
  __device__ __forceinline__ void each(unsigned first, unsigned last, unsigned thread, unsigned threads, F f) const {
    if (count % kVector == 0) {
      for (unsigned i = first + thread * kVector; i < last; i += threads * kVector) {
        const Floats8 x = load8(logits, type, start + i);
#pragma unroll
        for (unsigned j = 0; j < kVector; j++) f(i + j, clean(x.v[j]));
      }
    } else {
      for (unsigned i = first + thread; i < last; i += threads) f(i, at(i));
    }
  }
  template <class F>
  __device__ __forceinline__ void each(F f) const { each(0, count, threadIdx.x, kThreads, f); }
};

// Shared memory of a block.
struct Shared {
  Mass* bins;     // kBins
  Mass* scratch;  // kWarps
  double* doubles;  // kWarps
  float* floats;  // kWarps
  unsigned* ids;  // kWarps
  struct Found {
    Mass before;
    unsigned bin, listed, id;
  }* found;
};
constexpr unsigned kNone = 0xffffffffu;

template <class T, class Operation>
__device__ __forceinline__ T reduce(T value, Operation operation, T* scratch) {
  value = block_reduce<kThreads>(value, operation, scratch);
  __syncthreads();
  return value;
}

// The sum over threads before this one.
__device__ __forceinline__ Mass sum_before(Mass value, Mass* scratch) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  Mass running = value;
#pragma unroll
  for (unsigned step = 1; step < kWarp; step *= 2) {
    const Mass lower = __shfl_up_sync(kFullMask, running, step);
    if (lane >= step) running += lower;
  }
  if (lane == kWarp - 1) scratch[warp] = running;
  __syncthreads();
  Mass before = running - value;
  for (unsigned w = 0; w < warp; w++) before += scratch[w];
  __syncthreads();
  return before;
}

// The last of `bins` whose sum starts below `wanted`, given what lies before the first; kNone where all of it does not reach `wanted`.
__device__ void find_bin(const Shared& s, unsigned bins, Mass before, double wanted) {
  const bool has = 2 * threadIdx.x < bins;
  const Mass a = has ? s.bins[2 * threadIdx.x] : 0, b = has ? s.bins[2 * threadIdx.x + 1] : 0;
  if (threadIdx.x == 0) s.found->bin = kNone;
  const Mass first = before + sum_before(a + b, s.scratch);
  const auto crosses = [&](Mass start, Mass sum) { return sum > 0 && static_cast<double>(start) < wanted && !(static_cast<double>(start + sum) < wanted); };
  if (crosses(first, a)) {
    s.found->bin = 2 * threadIdx.x;
    s.found->before = first;
  } else if (crosses(first + a, b)) {
    s.found->bin = 2 * threadIdx.x + 1;
    s.found->before = first + a;
  }
  __syncthreads();
}

__device__ __forceinline__ void clear(Mass* bins, unsigned count) {
  for (unsigned i = threadIdx.x; i < count; i += kThreads) bins[i] = 0;
  __syncthreads();
}

// The rank of the last token before which the amounts of better ones come to less than `wanted`; `cut` where all of them do.
// amount(id, logit) is 0 for tokens that do not count.
template <class Amount>
__device__ Mass select(const Row& row, const Shared& s, std::uint32_t* list, float largest, float smallest, double wanted, Mass cut, Amount amount) {
  const float steps = static_cast<float>(kBins) / (largest - smallest);
  const auto bin_of = [&](float logit) {
    const float bin = (largest - logit) * steps;
    return bin < static_cast<float>(kBins - 1) ? static_cast<unsigned>(bin) : kBins - 1;
  };
  clear(s.bins, kBins);
  row.each([&](unsigned id, float logit) {
    const Mass own = amount(id, logit);
    if (own > 0) atomicAdd(&s.bins[bin_of(logit)], own);
  });
  __syncthreads();
  find_bin(s, kBins, 0, wanted);
  const unsigned bin = s.found->bin;
  if (bin == kNone) return cut;
  Mass before = s.found->before;
  if (threadIdx.x == 0) s.found->listed = 0;
  __syncthreads();
  row.each([&](unsigned id, float logit) {
    if (amount(id, logit) > 0 && bin_of(logit) == bin) list[atomicAdd(&s.found->listed, 1u)] = id;
  });
  __syncthreads();
  const unsigned listed = s.found->listed;
  Mass prefix = 0;
  for (int shift = static_cast<int>(kIdBits) + 24; shift >= 0; shift -= 8) {
    clear(s.bins, kDigits);
    for (unsigned i = threadIdx.x; i < listed; i += kThreads) {
      const unsigned id = list[i];
      const float logit = row.at(id);
      const Mass rank = rank_of(logit, id);
      if (rank >> (shift + 8) == prefix) atomicAdd(&s.bins[(rank >> shift) % kDigits], amount(id, logit));
    }
    __syncthreads();
    find_bin(s, kDigits, before, wanted);
    prefix = prefix << 8 | s.found->bin;
    before = s.found->before;
    __syncthreads();
  }
  return prefix;
}

// The first id whose running sum of amounts exceeds uniform * total, in s.found->id; untouched where all are 0.
template <class Amount>
__device__ void draw(const Row& row, const Shared& s, float uniform, Amount amount) {
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned stretch = ((row.count + kWarps - 1) / kWarps + kVector - 1) / kVector * kVector;
  const auto end_of = [&](unsigned begin) { return begin + stretch < row.count ? begin + stretch : row.count; };
  Mass own = 0;
  if (warp * stretch < row.count) row.each(warp * stretch, end_of(warp * stretch), lane, kWarp, [&](unsigned id, float logit) { own += amount(id, logit); });
  own = warp_reduce(own, Add{});
  if (lane == 0) s.scratch[warp] = own;
  __syncthreads();
  Mass total = 0;
  for (unsigned w = 0; w < kWarps; w++) total += s.scratch[w];
  const double target = static_cast<double>(fminf(uniform, 0.99999994f)) * static_cast<double>(total);
  const auto exceeds = [&](Mass sum) { return static_cast<double>(sum) > target; };
  Mass before = 0;
  unsigned chosen = kNone;
  for (unsigned w = 0; w < kWarps && chosen == kNone; w++) {
    if (s.scratch[w] > 0 && exceeds(before + s.scratch[w])) chosen = w;
    else before += s.scratch[w];
  }
  __syncthreads();
  if (chosen == kNone) return;
  // Within the stretch: neighbouring entries a thread.
  const unsigned end = end_of(chosen * stretch), each = (stretch + kThreads - 1) / kThreads;
  const unsigned first = chosen * stretch + threadIdx.x * each < end ? chosen * stretch + threadIdx.x * each : end;
  const unsigned last = first + each < end ? first + each : end;
  own = 0;
  for (unsigned id = first; id < last; id++) own += amount(id, row.at(id));
  Mass running = before + sum_before(own, s.scratch);
  if (own > 0 && !exceeds(running) && exceeds(running + own)) {
    for (unsigned id = first; id < last; id++) {
      const Mass part = amount(id, row.at(id));
      running += part;
      if (part == 0 || !exceeds(running)) continue;
      s.found->id = id;
      break;
    }
  }
  __syncthreads();
}

// What the first launch finds in a piece of a row. sum: of the exponentials of logits less the largest.
struct alignas(16) Piece {
  float largest, smallest, sum;
  unsigned best;  // the first entry that is the largest
};
constexpr unsigned kPieceThreads = 256;
constexpr unsigned kPiece = kPieceThreads * kVector;
static_assert(kMostTokens / kPiece <= kThreads);

__device__ __forceinline__ unsigned lower(unsigned a, unsigned b) { return a < b ? a : b; }

// Block (piece, row).
__global__ void __launch_bounds__(kPieceThreads) pieces_kernel(const void* logits, ElementType type, unsigned vocabulary, unsigned pieces, Piece* found) {
  XGEN_SHARED(float, largest_scratch, kPieceThreads / kWarp);
  XGEN_SHARED(float, smallest_scratch, kPieceThreads / kWarp);
  XGEN_SHARED(float, sum_scratch, kPieceThreads / kWarp);
  XGEN_SHARED(unsigned, best_scratch, kPieceThreads / kWarp);
  follow_previous();
  const unsigned piece = blockIdx.x % pieces, first = piece * kPiece;
  const Row row = {logits, type, std::size_t{blockIdx.x / pieces} * vocabulary, vocabulary};
  const unsigned last = first + kPiece < vocabulary ? first + kPiece : vocabulary;
  float own[kVector], largest = -infinity(), smallest = infinity();
  unsigned best = first, count = 0;
#pragma unroll
  for (unsigned j = 0; j < kVector; j++) own[j] = -infinity();
  row.each(first, last, threadIdx.x, kPieceThreads, [&](unsigned id, float logit) {
    if (logit > largest) {
      largest = logit;
      best = id;
    }
    if (logit > -infinity()) smallest = fminf(smallest, logit);
    own[count++] = logit;
  });
  const float own_largest = largest;
  largest = block_reduce<kPieceThreads>(largest, Maximum{}, largest_scratch);
  smallest = block_reduce<kPieceThreads>(smallest, Minimum{}, smallest_scratch);
  best = block_reduce<kPieceThreads>(own_largest == largest ? best : kNone, lower, best_scratch);
  float sum = 0.0f;
  if (largest > -infinity()) {
#pragma unroll
    for (unsigned j = 0; j < kVector; j++) sum += expf(own[j] - largest);
  }
  sum = block_reduce<kPieceThreads>(sum, Add{}, sum_scratch);
  if (threadIdx.x == 0) found[blockIdx.x] = {largest, smallest, sum, best};
}

__global__ void __launch_bounds__(kThreads, 1) sample_kernel(const void* logits, ElementType type, SamplingOptions options, SampledTokens sampled,
                                                             unsigned vocabulary, const Piece* all_pieces, unsigned pieces, std::uint32_t* lists) {
  follow_previous();
  XGEN_SHARED(Mass, bins, kBins);
  XGEN_SHARED(Mass, scratch, kWarps);
  XGEN_SHARED(double, doubles, kWarps);
  XGEN_SHARED(float, floats, kWarps);
  XGEN_SHARED(unsigned, numbers, kWarps);
  XGEN_SHARED(Shared::Found, found, 1);
  const Shared s = {bins, scratch, doubles, floats, numbers, found};
  const std::size_t start = std::size_t{blockIdx.x} * vocabulary;
  const Row row = {logits, type, start, vocabulary};
  const float temperature = options.temperature[blockIdx.x], top_p = options.top_p[blockIdx.x], min_p = options.min_p[blockIdx.x];
  const std::int32_t top_k = options.top_k[blockIdx.x];

  Piece own = {-infinity(), infinity(), 0.0f, kNone};
  if (threadIdx.x < pieces) own = all_pieces[std::size_t{blockIdx.x} * pieces + threadIdx.x];
  const float largest = reduce(own.largest, Maximum{}, s.floats), smallest = reduce(own.smallest, Minimum{}, s.floats);
  const unsigned best = reduce(own.largest == largest ? own.best : kNone, lower, s.ids);
  const double whole = reduce(own.sum > 0.0f ? static_cast<double>(own.sum * expf(own.largest - largest)) : 0.0, Add{}, s.doubles);
  if (threadIdx.x == 0) s.found->id = best;

  const bool greedy = !(temperature > 0.0f) || largest == -infinity();
  if (!greedy) {
    const auto weight = [&](float logit) { return expf((logit - largest) / temperature); };
    Mass cut = kAll;
    const auto kept = [&](unsigned id, float logit) { return logit > -infinity() && rank_of(logit, id) <= cut; };
    const auto mass = [&](unsigned id, float logit) { return kept(id, logit) ? mass_of(weight(logit)) : Mass{0}; };
    std::uint32_t* const list = lists + start;
    if (top_k > 0 && static_cast<unsigned>(top_k) < vocabulary) {
      cut = select(row, s, list, largest, smallest, static_cast<double>(top_k), cut, [&](unsigned id, float logit) { return kept(id, logit) ? Mass{1} : Mass{0}; });
    }
    if (top_p < 1.0f) {
      Mass sum = 0;
      row.each([&](unsigned id, float logit) { sum += mass(id, logit); });
      sum = reduce(sum, Add{}, s.scratch);
      // The best token always stays.
      const double wanted = static_cast<double>(top_p) * static_cast<double>(sum);
      cut = select(row, s, list, largest, smallest, wanted > 1.0 ? wanted : 1.0, cut, mass);
    }
    draw(row, s, options.uniforms[blockIdx.x], [&](unsigned id, float logit) { return kept(id, logit) && weight(logit) >= min_p ? mass_of(weight(logit)) : Mass{0}; });
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  const unsigned id = s.found->id;
  sampled.ids[blockIdx.x] = static_cast<std::int32_t>(id);
  if (sampled.into != nullptr) sampled.into[blockIdx.x] = static_cast<std::int32_t>(id);
  sampled.log_probabilities[blockIdx.x] = static_cast<float>(static_cast<double>(row.at(id)) - static_cast<double>(largest) - log(whole));
}

}  // namespace

std::size_t sample_tokens_workspace_bytes(std::size_t rows, std::size_t vocabulary) {
  return rows * divide_up(vocabulary, kPiece) * sizeof(Piece) + rows * vocabulary * sizeof(std::uint32_t) + 16;
}

void sample_tokens(Stream stream, ConstArray logits, const SamplingOptions& options, const SampledTokens& sampled, std::size_t rows, std::size_t vocabulary,
                   void* workspace) {
  require_float(kName, logits.type);
  if (vocabulary == 0 || vocabulary > kMostTokens) fail_launch(kName, "a row must have 1 to 524,288 logits");
  const std::size_t pieces = divide_up(vocabulary, kPiece);
  Piece* const found = static_cast<Piece*>(workspace);
  launch_early(kName, pieces_kernel, grid_of(kName, rows * pieces), kPieceThreads, 0, stream, logits.data, logits.type, static_cast<unsigned>(vocabulary),
               static_cast<unsigned>(pieces), found);
  launch_early(kName, sample_kernel, grid_of(kName, rows), kThreads, 0, stream, logits.data, logits.type, options, sampled,
               static_cast<unsigned>(vocabulary), found, static_cast<unsigned>(pieces), reinterpret_cast<std::uint32_t*>(found + rows * pieces));
}

}  // namespace xgen::cuda
