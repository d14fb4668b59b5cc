#include "context.h"

#include <algorithm>
#include <utility>
#include <cstring>

#include "xgen/error.h"

namespace xgen::cuda::binding {

namespace {

// A handle: slot number in the low bits, the slot's generation above.
constexpr std::uint32_t kSlotBits = 20, kGenerationBits = 11;
constexpr std::uint32_t kSlotMask = (1u << kSlotBits) - 1, kGenerationMask = (1u << kGenerationBits) - 1;

constexpr std::size_t kFlags = static_cast<std::size_t>(Checked::count);
constexpr std::size_t kUploadPiece = std::size_t{16} << 20;
constexpr std::size_t kReadPiece = std::size_t{64} << 20;

const char* const kCheckedNames[kFlags] = {"embedding",        "embedding's gradient", "groupedQueryAttention", "groupedQueryAttention's gradient",
                                           "pagedCacheAppend", "pagedAttention",       "linearCrossEntropy"};

std::size_t padded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

[[noreturn]] void throw_launch_failure(const char* operation, const char* message) {
  throw Error("CUDA_FAILURE", std::string("The launch of ") + operation + " failed: " + message + ".");
}

int chosen(int ordinal) {
  use_device(ordinal);
  set_launch_failure_hook([](const char* operation, const char* message) { throw_launch_failure(operation, message); });
  return ordinal;
}

}  // namespace

std::size_t element_bytes(ElementType type) {
  switch (type) {
    case ElementType::bfloat16: return 2;
    case ElementType::uint8: return 1;
    default: return 4;
  }
}

const char* type_name(ElementType type) {
  switch (type) {
    case ElementType::float32: return "float32";
    case ElementType::bfloat16: return "bfloat16";
    case ElementType::int32: return "int32";
    default: return "uint8";
  }
}

Context::Context(int device)
    : ordinal(chosen(device)), stream(create_stream()), allocator([this] { synchronize(stream); }) {
  flags_ = static_cast<ErrorFlag*>(allocator.allocate(kFlags * sizeof(ErrorFlag), allocator.label("error flags")));
  fill_bytes(flags_, 0, kFlags * sizeof(ErrorFlag), stream);
  arrivals_ = static_cast<std::uint32_t*>(allocator.allocate(kPagedArrivals * sizeof(std::uint32_t), allocator.label("paged attention's counters")));
  fill_bytes(arrivals_, 0, kPagedArrivals * sizeof(std::uint32_t), stream);
}

Context::~Context() {
  try {
    use_device(ordinal);
    if (capturing()) abandon_capture();
    synchronize(stream);
  } catch (...) {
    // The device is lost; what follows fails silently.
  }
  for (auto& [number, captured] : graphs_) {
    xgen::cuda::destroy_graph(captured.graph);
    for (const StagingBlock& block : captured.uploads) staging.give_back(block);
  }
  destroy_stream(stream);
}

Handle Context::create(std::size_t count, ElementType type, Allocator::Label who) {
  const std::size_t bytes = count * element_bytes(type);
  void* data = allocator.allocate(bytes, who);
  if (poison) fill_bytes(data, 0xFF, bytes, stream);
  std::uint32_t number;
  if (free_slots_.empty()) {
    number = static_cast<std::uint32_t>(slots_.size());
    if (number > kSlotMask) {
      allocator.release(data);
      throw Error("OUT_OF_MEMORY", "There are a million arrays on the device. Dispose of tensors, or use tidy.");
    }
    slots_.emplace_back();
  } else {
    number = free_slots_.back();
    free_slots_.pop_back();
  }
  Slot& one = slots_[number];
  one.array = {data, count, type};
  one.live = true;
  return static_cast<Handle>(number | (one.generation & kGenerationMask) << kSlotBits);
}

Context::Slot& Context::slot(Handle handle) {
  const auto bits = static_cast<std::uint32_t>(handle);
  const std::uint32_t number = bits & kSlotMask;
  if (handle <= 0 || number >= slots_.size() || !slots_[number].live || (slots_[number].generation & kGenerationMask) != bits >> kSlotBits) {
    throw Error("INVALID_ARGUMENT", "There is no device array with the handle " + std::to_string(handle) + " (any more).");
  }
  return slots_[number];
}

const DeviceArray& Context::at(Handle handle) const { return const_cast<Context*>(this)->slot(handle).array; }

void Context::release(Handle handle) {
  Slot& one = slot(handle);
  allocator.release(one.array.data);
  one.live = false;
  one.array = {};
  one.generation++;
  free_slots_.push_back(static_cast<std::uint32_t>(handle) & kSlotMask);
}

void Context::replace(Handle handle, const DeviceArray& with) {
  Slot& one = slot(handle);
  allocator.release(one.array.data);
  one.array = with;
}

void Context::upload(Handle handle, const void* from, std::size_t bytes) {
  const DeviceArray& array = at(handle);
  if (bytes != array.count * element_bytes(array.type)) {
    throw Error("INVALID_ARGUMENT", std::to_string(bytes) + " bytes for a device array of " + std::to_string(array.count) + " " + type_name(array.type) + ".");
  }
  copy_in(array.data, from, bytes);
}

void Context::copy_in(void* to, const void* from, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes; done += kUploadPiece) {
    const std::size_t piece = std::min(kUploadPiece, bytes - done);
    const StagingBlock block = staging.take(piece);
    std::memcpy(block.data, static_cast<const char*>(from) + done, piece);
    copy_to_device(static_cast<char*>(to) + done, block.data, piece, stream);
    give_back_after_copy(block);
  }
}

void Context::give_back_after_copy(const StagingBlock& block) {
  if (capturing()) capture_uploads_.push_back(block);
  else staging.give_back_after(block, stream);
}

std::size_t Context::bytes_of(const std::vector<Handle>& handles) const {
  std::size_t bytes = 0;
  for (const Handle handle : handles) bytes += at(handle).count * element_bytes(at(handle).type);
  return bytes;
}

void Context::upload_together(const std::vector<Handle>& handles, const void* from) {
  const std::size_t bytes = bytes_of(handles);
  const StagingBlock block = staging.take(bytes);
  std::memcpy(block.data, from, bytes);
  const char* host = static_cast<const char*>(block.data);
  for (const Handle handle : handles) {
    const std::size_t piece = bytes_of({handle});
    copy_to_device(at(handle).data, host, piece, stream);
    host += piece;
  }
  give_back_after_copy(block);
}

Context::Read Context::start_read(Handle handle, ElementType as) {
  if (capturing()) {
    throw Error("CAPTURE_READ", "A tensor's values cannot be read while launches are being recorded: they do not exist yet.");
  }
  const DeviceArray& array = at(handle);
  Read read;
  read.bytes = array.count * element_bytes(as);
  read.block = staging.take(padded(read.bytes) + kFlags * sizeof(ErrorFlag));
  char* host = static_cast<char*>(read.block.data);
  if (as == array.type) {
    copy_to_host(host, array.data, read.bytes, stream);
  } else {
    const Workspace converted(*this, read.bytes);
    convert(stream, {array.data, array.type}, {converted.data(), as}, array.count);
    copy_to_host(host, converted.data(), read.bytes, stream);
  }
  mark_read(read);
  return read;
}

void Context::mark_read(Read& read) {
  copy_to_host(static_cast<char*>(read.block.data) + padded(read.bytes), flags_, kFlags * sizeof(ErrorFlag), stream);
  read.event = create_event(false);
  record_event(read.event, stream);
}

void Context::read_together(const std::vector<Handle>& handles, void* to) {
  if (capturing()) throw Error("CAPTURE_READ", "Values of tensors cannot be read while launches are being recorded: they do not exist yet.");
  Read read;
  read.bytes = bytes_of(handles);
  read.block = staging.take(padded(read.bytes) + kFlags * sizeof(ErrorFlag));
  char* host = static_cast<char*>(read.block.data);
  for (const Handle handle : handles) {
    const std::size_t piece = bytes_of({handle});
    copy_to_host(host, at(handle).data, piece, stream);
    host += piece;
  }
  mark_read(read);
  wait_read(read);
  finish_read(read, to);
}

void Context::wait_read(const Read& read) const {
  use_device(ordinal);
  wait_event(read.event);
}

void Context::finish_read(Read& read, void* to) {
  const char* host = static_cast<const char*>(read.block.data);
  if (to != nullptr && read.bytes > 0) std::memcpy(to, host, read.bytes);
  ErrorFlag found[kFlags];
  std::memcpy(found, host + padded(read.bytes), sizeof(found));
  destroy_event(read.event);
  staging.give_back(read.block);
  check_flags(found);
}

void Context::read_now(Handle handle, ElementType as, void* to) {
  const DeviceArray array = at(handle);
  if (array.count * element_bytes(as) > kReadPiece && array.type == as) {
    // In pieces, so that pinned memory stays small.
    if (capturing()) throw Error("CAPTURE_READ", "A tensor's values cannot be read while launches are being recorded.");
    const std::size_t bytes = array.count * element_bytes(as);
    const StagingBlock block = staging.take(kReadPiece);
    for (std::size_t done = 0; done < bytes; done += kReadPiece) {
      const std::size_t piece = std::min(kReadPiece, bytes - done);
      copy_to_host(block.data, static_cast<char*>(array.data) + done, piece, stream);
      synchronize(stream);
      std::memcpy(static_cast<char*>(to) + done, block.data, piece);
    }
    staging.give_back(block);
    return;
  }
  Read read = start_read(handle, as);
  wait_read(read);
  finish_read(read, to);
}

// Reports the first and forgets all, so that the next step starts afresh.
void Context::check_flags(const ErrorFlag* flags) {
  for (std::size_t i = 0; i < kFlags; i++) {
    const auto code = static_cast<DeviceError>(flags[i].code);
    if (code == DeviceError::none) continue;
    fill_bytes(flags_, 0, kFlags * sizeof(ErrorFlag), stream);
    const std::string at = std::to_string(flags[i].position), value = std::to_string(flags[i].value);
    const std::string who = kCheckedNames[i];
    switch (code) {
      case DeviceError::cumulative_lengths:
        throw Error("BROKEN_CUMULATIVE_LENGTHS", who + ": the cumulative lengths must start with 0, never fall and end with the number of tokens, but entry " + at + " is " + value + ".");
      case DeviceError::ids: throw Error("OUT_OF_RANGE", who + ": ids[" + at + "] is " + value + ", outside the table.");
      case DeviceError::targets: throw Error("OUT_OF_RANGE", who + ": targets[" + at + "] is " + value + ", outside the vocabulary.");
      case DeviceError::slots: throw Error("OUT_OF_RANGE", who + ": slots[" + at + "] is " + value + ", outside the cache.");
      case DeviceError::context_lengths: throw Error("OUT_OF_RANGE", who + ": contextLengths[" + at + "] is " + value + ", which does not fit its queries or blocks.");
      case DeviceError::gradient:
        throw Error("UNEXPECTED_GRADIENT", who + ": the loss's gradient with respect to log-probability " + at + " is not the expectedGradient that was given.");
      default: throw Error("OUT_OF_RANGE", who + ": blockTables[" + at + "] is " + value + ", outside the cache.");
    }
  }
}

void* Context::matmul_workspace() {
  if (matmul_workspace_ == nullptr) {
    // Not from a graph's pool, which it would outlive.
    if (capturing()) throw Error("CAPTURE_FAILED", "The workspace of matrix products must exist before a graph is recorded.");
    matmul_workspace_ = allocator.allocate(Matmul::kWorkspaceBytes, allocator.label("matrix products' workspace"));
  }
  return matmul_workspace_;
}

void Context::begin_capture() {
  if (capturing()) throw Error("CAPTURE_FAILED", "Another graph is being recorded.");
  matmul_workspace();
  xgen::cuda::begin_capture(stream);
  capture_pool_ = allocator.begin_private_pool();
  capture_changes_.clear();
}

bool Context::settled(const void* data) const { return capturing() && !allocator.from_current_pool(data) && capture_changes_.count(data) == 0; }

void Context::changes_in_place(const void* data) {
  if (capturing()) capture_changes_.insert(data);
}

std::uint32_t Context::end_capture() {
  if (!capturing()) throw Error("CAPTURE_FAILED", "No graph is being recorded.");
  Captured captured;
  captured.pool = std::exchange(capture_pool_, 0);
  captured.uploads = std::exchange(capture_uploads_, {});
  allocator.end_private_pool();
  try {
    captured.graph = xgen::cuda::end_capture(stream);
  } catch (...) {
    allocator.retire_private_pool(captured.pool);
    for (const StagingBlock& block : captured.uploads) staging.give_back(block);
    throw;
  }
  graphs_.emplace(++last_graph_, std::move(captured));
  return last_graph_;
}

void Context::abandon_capture() noexcept {
  if (!capturing()) return;
  xgen::cuda::abandon_capture(stream);
  allocator.end_private_pool();
  allocator.retire_private_pool(std::exchange(capture_pool_, 0));
  for (const StagingBlock& block : std::exchange(capture_uploads_, {})) staging.give_back(block);
}

void Context::replay(std::uint32_t graph) {
  const auto found = graphs_.find(graph);
  if (found == graphs_.end()) throw Error("INVALID_ARGUMENT", "This graph was disposed of.");
  launch_graph(found->second.graph, stream);
}

void Context::destroy_graph(std::uint32_t graph) {
  const auto found = graphs_.find(graph);
  if (found == graphs_.end()) return;
  synchronize(stream);
  xgen::cuda::destroy_graph(found->second.graph);
  allocator.retire_private_pool(found->second.pool);
  for (const StagingBlock& block : found->second.uploads) staging.give_back(block);
  graphs_.erase(found);
}

Workspace::Workspace(Context& context, std::size_t bytes) : context_(context) {
  if (bytes > 0) data_ = context.allocator.allocate(bytes, context.allocator.label("workspace"));
}

Workspace::~Workspace() {
  if (data_ != nullptr) context_.allocator.release(data_);
}

}  // namespace xgen::cuda::binding
