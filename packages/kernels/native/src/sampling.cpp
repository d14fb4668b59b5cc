// Drawing a token from each row of logits. Filters rank only as many tokens as they need to look at.
#include <algorithm>
#include <cmath>
#include <vector>

#include "chunks.h"
#include "xgen/memory.h"
#include "xgen/operations.h"

namespace xgen {

namespace {

struct RowOptions {
  float temperature;
  std::int32_t top_k;
  float top_p, min_p, uniform;
};

// Ids of tokens, best first: by falling logit, the lower id first on a tie.
class Ranking {
 public:
  Ranking(const float* logits, std::size_t count, std::vector<std::int32_t>& ids) : logits_(logits), ids_(ids) {
    ids_.resize(count);
    for (std::size_t i = 0; i < count; i++) ids_[i] = static_cast<std::int32_t>(i);
  }
  // The id of this rank; sorts further in growing steps as it is asked for more.
  std::int32_t at(std::size_t rank) {
    while (rank >= sorted_) {
      const std::size_t next = std::min(ids_.size(), std::max<std::size_t>(64, sorted_ * 4));
      const auto better = [this](std::int32_t a, std::int32_t b) {
        return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
      };
      std::partial_sort(ids_.begin() + static_cast<std::ptrdiff_t>(sorted_), ids_.begin() + static_cast<std::ptrdiff_t>(next),
                        ids_.end(), better);
      sorted_ = next;
    }
    return ids_[rank];
  }

 private:
  const float* logits_;
  std::vector<std::int32_t>& ids_;
  std::size_t sorted_ = 0;
};

std::size_t largest_index(const float* logits, std::size_t count, float largest) {
  for (std::size_t i = 0; i < count; i++) {
    if (logits[i] == largest) return i;
  }
  return 0;  // only where every logit is NaN or -infinity
}

// How many of the best-ranked tokens top-k and top-p leave.
std::size_t kept_ranks(Ranking& ranking, const float* p, double total, std::size_t count, const RowOptions& o) {
  std::size_t kept = o.top_k > 0 ? std::min<std::size_t>(count, static_cast<std::size_t>(o.top_k)) : count;
  if (o.top_p >= 1.0f) return kept;
  double mass = total;
  if (kept < count) {
    mass = 0;
    for (std::size_t rank = 0; rank < kept; rank++) mass += p[ranking.at(rank)];
  }
  double before = 0;
  for (std::size_t rank = 0; rank < kept; rank++) {
    if (rank > 0 && before >= static_cast<double>(o.top_p) * mass) return rank;
    before += p[ranking.at(rank)];
  }
  return kept;
}

// The first token whose running sum is over the target. Sums of whole stretches lead to the stretch, then its tokens count singly.
std::size_t draw(const KernelTable& t, const float* p, std::size_t count, double total, float uniform) {
  constexpr std::size_t kStretch = 256;
  const double target = static_cast<double>(uniform) * total;
  double running = 0;
  for (std::size_t begin = 0; begin < count; begin += kStretch) {
    const std::size_t end = std::min(count, begin + kStretch);
    const double sum = t.row_sum(p + begin, end - begin);
    if (running + sum <= target || sum <= 0) {
      running += sum;
      continue;
    }
    std::size_t last = begin;
    for (std::size_t i = begin; i < end; i++) {
      if (p[i] <= 0.0f) continue;
      running += p[i];
      last = i;
      if (running > target) break;
    }
    // Even where the stretch's own sum and that of its tokens round to different sides of the target.
    return last;
  }
  // The total was rounded up past the sum of all: the last token that may be drawn.
  for (std::size_t i = count; i > 0; i--) {
    if (p[i - 1] > 0.0f) return i - 1;
  }
  return 0;
}

// Keeps the tokens of the first ranks, and of those the ones with p >= min_p (the largest p is exp(0) = 1). Returns their sum.
double filter(const KernelTable& t, const float* logits, std::size_t count, double total, const RowOptions& o, float* p,
              std::vector<std::int32_t>& ids) {
  if (o.top_k > 0 || o.top_p < 1.0f) {
    Ranking ranking(logits, count, ids);
    const std::size_t kept = kept_ranks(ranking, p, total, count, o);
    if (kept < count) {
      std::vector<float> values(kept);
      for (std::size_t rank = 0; rank < kept; rank++) values[rank] = p[ranking.at(rank)];
      std::fill_n(p, count, 0.0f);
      for (std::size_t rank = 0; rank < kept; rank++) p[ranking.at(rank)] = values[rank];
    }
  }
  if (o.min_p > 0.0f) {
    for (std::size_t i = 0; i < count; i++) p[i] = p[i] < o.min_p ? 0.0f : p[i];
  }
  return t.exact_sum(p, count);
}

// On entry p holds exp(logit - largest), of sum `total`.
std::size_t sample_row(const KernelTable& t, const float* logits, std::size_t count, float largest, double total,
                       const RowOptions& o, float* p, std::vector<std::int32_t>& ids) {
  if (o.temperature <= 0.0f) return largest_index(logits, count, largest);
  if (o.temperature != 1.0f) total = t.exp_shifted(logits, p, count, largest, 1.0f / o.temperature);
  if (!(total > 0) || std::isinf(total)) return largest_index(logits, count, largest);
  if (o.top_k > 0 || o.top_p < 1.0f || o.min_p > 0.0f) total = filter(t, logits, count, total, o, p, ids);
  return draw(t, p, count, total, o.uniform);
}

}  // namespace

void sample_tokens(const float* logits, const SamplingOptions& options, std::int32_t* ids, float* log_probabilities,
                   std::size_t rows, std::size_t vocabulary) {
  const KernelTable& t = kernels();
  parallel_for(rows, [&](std::size_t row) {
    const float* own = logits + row * vocabulary;
    float* p = thread_scratch(ScratchSlot::task).reserve_array<float>(vocabulary);
    thread_local std::vector<std::int32_t> ranked;
    const float largest = t.maximum(own, vocabulary);
    const double total = t.exp_shifted(own, p, vocabulary, largest, 1.0f);
    const RowOptions o = {options.temperature[row], options.top_k[row], options.top_p[row], options.min_p[row], options.uniforms[row]};
    const std::size_t id = sample_row(t, own, vocabulary, largest, total, o, p, ranked);
    ids[row] = static_cast<std::int32_t>(id);
    log_probabilities[row] = static_cast<float>(static_cast<double>(own[id]) - largest - std::log(total));
  });
}

}  // namespace xgen
