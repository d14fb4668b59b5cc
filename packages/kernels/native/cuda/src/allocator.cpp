#include "xgen/cuda/allocator.h"

#include <algorithm>
#include <utility>
#include <cstdio>

#include "xgen/error.h"

namespace xgen::cuda {

namespace {
constexpr std::size_t kGranule = 512;
constexpr std::size_t kSmallRequest = std::size_t{1} << 20;
constexpr std::size_t kSmallSegment = std::size_t{2} << 20;
constexpr std::size_t kLargeGranule = std::size_t{2} << 20;
// Requests between 1 and 10 MiB share segments of this size; beyond that each gets its own.
constexpr std::size_t kMediumSegment = std::size_t{20} << 20;
constexpr std::size_t kMediumRequest = std::size_t{10} << 20;

std::size_t round_up(std::size_t value, std::size_t step) { return (value + step - 1) / step * step; }
}  // namespace

std::string bytes_text(std::size_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; unit++) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

Allocator::Allocator(std::function<void()> before_release) : before_release_(std::move(before_release)) { label("other"); }

Allocator::~Allocator() {
  for (const auto& segment : segments_) {
    for (Block* block = segment->first; block != nullptr;) delete std::exchange(block, block->next);
    device_release(segment->memory);
  }
}

Allocator::Label Allocator::label(const std::string& name) {
  const auto [entry, added] = label_numbers_.try_emplace(name, static_cast<Label>(labels_.size()));
  if (added) labels_.push_back(name);
  return entry->second;
}

void* Allocator::allocate(std::size_t bytes, Label who) {
  if (bytes > SIZE_MAX / 2) out_of_memory(bytes, who);
  const std::size_t size = round_up(std::max<std::size_t>(bytes, 1), kGranule);
  const bool small = size <= kSmallRequest;
  Block* block = take_cached(size, small);
  if (block == nullptr) block = reserve(size, small);
  if (block == nullptr) {
    release_cached();
    block = reserve(size, small);
  }
  if (block == nullptr) out_of_memory(bytes, who);
  split(block, size);
  block->live = true;
  block->who = who < labels_.size() ? who : 0;
  live_[block->data] = block;
  live_bytes_ += block->bytes;
  peak_live_ = std::max(peak_live_, live_bytes_);
  return block->data;
}

void Allocator::release(void* memory) {
  const auto found = live_.find(memory);
  if (found == live_.end()) throw Error("INVALID_ARGUMENT", "This device memory is not in use.");
  Block* block = found->second;
  live_.erase(found);
  live_bytes_ -= block->bytes;
  block->live = false;
  if (block->next != nullptr && !block->next->live) block = merge(block, block->next);
  if (block->previous != nullptr && !block->previous->live) block = merge(block->previous, block);
  free_blocks(*block->segment).insert(block);
}

// `block` and its right neighbour, of which at most one is in the lists of free blocks.
Allocator::Block* Allocator::merge(Block* block, Block* with) {
  FreeBlocks& list = free_blocks(*block->segment);
  list.erase(block);
  list.erase(with);
  block->bytes += with->bytes;
  block->next = with->next;
  if (with->next != nullptr) with->next->previous = block;
  delete with;
  return block;
}

Allocator::Block* Allocator::take_cached(std::size_t bytes, bool small) {
  FreeBlocks& list = free_[{current_, small}];
  Block wanted{};
  wanted.bytes = bytes;
  const auto found = list.lower_bound(&wanted);
  if (found == list.end()) return nullptr;
  Block* block = *found;
  // A large request for far less than the smallest block that fits would only break it up.
  if (!small && bytes < kMediumRequest && block->bytes > 16 * kMediumSegment) return nullptr;
  list.erase(found);
  return block;
}

Allocator::Block* Allocator::reserve(std::size_t bytes, bool small) {
  const std::size_t size = small ? kSmallSegment : bytes < kMediumRequest ? kMediumSegment : round_up(bytes, kLargeGranule);
  std::size_t reserved = size;
  void* memory = device_allocate(size);
  // Near the limit, what is asked for may fit where the usual segment does not.
  if (memory == nullptr && bytes < size) memory = device_allocate(reserved = bytes);
  if (memory == nullptr) return nullptr;
  device_allocations_++;
  segments_.push_back(std::make_unique<Segment>(Segment{memory, reserved, current_, small, nullptr}));
  Segment* segment = segments_.back().get();
  segment->first = new Block{segment, static_cast<char*>(memory), reserved, nullptr, nullptr, false, 0};
  reserved_bytes_ += reserved;
  peak_reserved_ = std::max(peak_reserved_, reserved_bytes_);
  return segment->first;
}

void Allocator::split(Block* block, std::size_t bytes) {
  const std::size_t rest = block->bytes - bytes;
  if (rest < (block->segment->small ? kGranule : kSmallRequest)) return;
  auto* remainder = new Block{block->segment, block->data + bytes, rest, block, block->next, false, 0};
  if (block->next != nullptr) block->next->previous = remainder;
  block->next = remainder;
  block->bytes = bytes;
  free_blocks(*block->segment).insert(remainder);
}

void Allocator::release_cached() {
  // Nothing can be given back while launches are being recorded: CUDA would end the recording.
  if (current_ != 0) return;
  before_release_();
  const auto is_free = [](const std::unique_ptr<Segment>& segment) {
    return segment->pool == 0 && !segment->first->live && segment->first->next == nullptr;
  };
  for (const auto& segment : segments_) {
    if (!is_free(segment)) continue;
    free_blocks(*segment).erase(segment->first);
    reserved_bytes_ -= segment->bytes;
    device_release(segment->memory);
  }
  const auto kept = std::stable_partition(segments_.begin(), segments_.end(), [&](const auto& segment) { return !is_free(segment); });
  for (auto segment = kept; segment != segments_.end(); ++segment) delete (*segment)->first;
  segments_.erase(kept, segments_.end());
}

Allocator::Pool Allocator::begin_private_pool() {
  if (current_ != 0) throw Error("INVALID_ARGUMENT", "A private pool is in use already.");
  return current_ = ++last_pool_;
}

void Allocator::end_private_pool() { current_ = 0; }

void Allocator::retire_private_pool(Pool pool) {
  if (pool == 0 || pool == current_) throw Error("INVALID_ARGUMENT", "This pool cannot be retired.");
  for (const bool small : {true, false}) {
    const auto list = free_.find({pool, small});
    if (list == free_.end()) continue;
    free_[{0, small}].merge(list->second);
    free_.erase(list);
  }
  for (const auto& segment : segments_) {
    if (segment->pool == pool) segment->pool = 0;
  }
}

bool Allocator::from_current_pool(const void* memory) const {
  const auto found = live_.find(const_cast<void*>(memory));
  if (found == live_.end()) throw Error("INVALID_ARGUMENT", "This device memory is not in use.");
  return found->second->segment->pool == current_;
}

Allocator::Statistics Allocator::statistics() const {
  Statistics result{live_bytes_, live_.size(), reserved_bytes_, peak_live_, peak_reserved_, device_allocations_, {}, {}};
  std::map<std::size_t, Holder> sizes;
  std::vector<Holder> labels;
  for (const std::string& name : labels_) labels.push_back({name, 0, 0});
  for (const auto& [memory, block] : live_) {
    std::size_t size_class = kGranule;
    while (size_class < block->bytes) size_class *= 2;
    Holder& size = sizes.try_emplace(size_class, Holder{"up to " + bytes_text(size_class), 0, 0}).first->second;
    for (Holder* holder : {&size, &labels[block->who]}) {
      holder->blocks++;
      holder->bytes += block->bytes;
    }
  }
  for (const auto& [size, holder] : sizes) result.by_size.push_back(holder);
  std::stable_sort(labels.begin(), labels.end(), [](const Holder& a, const Holder& b) { return a.bytes > b.bytes; });
  for (const Holder& holder : labels) {
    if (holder.blocks > 0) result.by_label.push_back(holder);
  }
  return result;
}

void Allocator::reset_peaks() {
  peak_live_ = live_bytes_;
  peak_reserved_ = reserved_bytes_;
}

void Allocator::out_of_memory(std::size_t bytes, Label who) const {
  std::size_t free_bytes = 0, total_bytes = 0;
  device_memory(&free_bytes, &total_bytes);
  const Statistics now = statistics();
  std::string message = "The device has no " + bytes_text(bytes) + " left for " + labels_[who < labels_.size() ? who : 0] + ": of its " +
                        bytes_text(total_bytes) + ", " + bytes_text(now.live_bytes) + " are in use here, " +
                        bytes_text(now.reserved_bytes - now.live_bytes) + " kept in pieces too small or for graphs, and " +
                        bytes_text(free_bytes) + " free.";
  const std::size_t shown = std::min<std::size_t>(now.by_label.size(), 6);
  for (std::size_t i = 0; i < shown; i++) {
    const Holder& holder = now.by_label[i];
    message += (i == 0 ? " Held by " : ", ") + holder.name + ": " + bytes_text(holder.bytes) + " in " + std::to_string(holder.blocks);
  }
  if (shown > 0) message += ".";
  throw Error("OUT_OF_MEMORY", message + " Use smaller or fewer sequences, recompute blocks, or store in bfloat16.");
}

}  // namespace xgen::cuda
