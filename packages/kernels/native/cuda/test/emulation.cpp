// The engine behind xgen/cuda/emulation.h: fibers, their scheduler, shared memory and late copies.
#include "xgen/cuda/emulation.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace xgen::cuda::emulation {

namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
// Stacks begin this much apart modulo the size of a page, in turn: tops at equal places in pages would all want the same lines of a cache.
constexpr std::size_t kStackStep = 320, kStackSteps = 61;
constexpr std::size_t kSharedLimit = 227 * 1024;
constexpr std::size_t kGuard = 256;
// All bits set is a NaN in float32 and in bfloat16, and an index far outside everything.
constexpr unsigned char kPoison = 0xff;

#ifdef __x86_64__
extern "C" void xgen_switch_fiber(void** save, void* load);
asm(R"(
.text
.globl xgen_switch_fiber
.type xgen_switch_fiber,@function
xgen_switch_fiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size xgen_switch_fiber,.-xgen_switch_fiber
)");
#endif

enum class State { ready, at_warp, at_block, finished };

struct Copy {
  void* destination;
  const void* source;
  std::size_t bytes, source_bytes;
};

struct Warp {
  unsigned arrived = 0;
  alignas(16) unsigned char slots[2][32 * kSlotBytes];
};

struct Fiber {
#ifdef __x86_64__
  void* pointer = nullptr;
#else
  ucontext_t context;
#endif
  void* stack = nullptr;
  State state = State::ready;
  int line = 0;
  unsigned parity = 0;
  Warp* warp = nullptr;
  Place place;
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> open;
};

struct SharedArray {
  const void* key;
  std::size_t offset, bytes;
};

struct Processor {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  std::vector<unsigned char> shared_memory = std::vector<unsigned char>(2 * kSharedLimit, kPoison);
  unsigned char* shared = nullptr;
  std::size_t dynamic_bytes = 0, shared_used = 0;
  std::vector<SharedArray> arrays;
  const std::function<void()>* kernel = nullptr;
  const char* operation = "";
  Fiber* current = nullptr;
  unsigned current_index = 0, live = 0;
  std::uint64_t order_seed = 0;
  std::mt19937_64 random;
#ifdef __x86_64__
  void* scheduler = nullptr;
#else
  ucontext_t scheduler;
#endif
};

__thread Processor* own_processor XGEN_RESERVED = nullptr;

[[gnu::noinline]] Processor& create_processor() {
  thread_local const std::unique_ptr<Processor> instance = std::make_unique<Processor>();
  own_processor = instance.get();
  return *own_processor;
}
inline Processor& processor() { return own_processor != nullptr ? *own_processor : create_processor(); }

void leave(Processor& p) {
#ifdef __x86_64__
  xgen_switch_fiber(&p.current->pointer, p.scheduler);
#else
  swapcontext(&p.current->context, &p.scheduler);
#endif
}

void enter(Processor& p, unsigned index) {
  p.current = p.fibers[index].get();
  p.current_index = index;
  running_place = &p.current->place;
#ifdef __x86_64__
  xgen_switch_fiber(&p.scheduler, p.current->pointer);
#else
  swapcontext(&p.scheduler, &p.current->context);
#endif
}

void fiber_main() {
  Processor& p = processor();
  (*p.kernel)();
  p.current->state = State::finished;
  p.live--;
  leave(p);
  std::abort();
}

void prepare(Fiber& fiber, unsigned index) {
  const std::size_t stack_bytes = kStackBytes - index % kStackSteps * kStackStep;
  if (fiber.stack == nullptr) {
    fiber.stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fiber.stack == MAP_FAILED) fail("no memory for a fiber's stack");
  }
#ifdef __x86_64__
  // As if fiber_main had been called: at its entry the stack is 8 past a multiple of 16.
  void** top = reinterpret_cast<void**>(static_cast<unsigned char*>(fiber.stack) + stack_bytes) - 1;
  *top = nullptr;
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  fiber.pointer = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = stack_bytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
#endif
  fiber.state = State::ready;
  fiber.parity = 0;
  fiber.groups.clear();
  fiber.open.clear();
}

void run_warp(Processor& p, unsigned warp, bool backwards) {
  for (bool any = true; any;) {
    any = false;
    for (unsigned i = 0; i < 32; i++) {
      const unsigned index = warp * 32 + (backwards ? 31 - i : i);
      if (p.fibers[index]->state != State::ready) continue;
      enter(p, index);
      any = true;
    }
  }
}

bool is_poison(const unsigned char* bytes, std::size_t count) {
  return bytes[0] == kPoison && std::memcmp(bytes, bytes + 1, count - 1) == 0;
}

void run_block(Processor& p, unsigned threads) {
  std::memset(p.shared, kPoison, p.shared_used);  // what the block before had; all else still is
  p.shared_used = (p.dynamic_bytes + 127) / 128 * 128 + kGuard;
  p.arrays.clear();
  p.live = threads;
  for (Warp& w : p.warps) w.arrived = 0;
  std::vector<unsigned> order(threads / 32);
  for (unsigned i = 0; i < order.size(); i++) order[i] = i;
  while (p.live > 0) {
    if (p.order_seed != 0) std::shuffle(order.begin(), order.end(), p.random);
    for (const unsigned warp : order) run_warp(p, warp, p.order_seed != 0 && (p.random() & 1) != 0);
    if (p.live == 0) break;
    int line = -1;
    for (unsigned i = 0; i < threads; i++) {
      Fiber& f = *p.fibers[i];
      if (f.state == State::at_warp) fail("lanes wait for others of their warp that never come");
      if (f.state == State::finished) fail("a thread has returned while others wait at __syncthreads()");
      if (line >= 0 && f.line != line) fail("threads wait at different __syncthreads()");
      line = f.line;
      f.state = State::ready;
    }
  }
  const std::size_t guard = (p.dynamic_bytes + 127) / 128 * 128 - p.dynamic_bytes + kGuard;
  if (!is_poison(p.shared + p.dynamic_bytes, guard)) fail("a write past the end of dynamic shared memory");
  for (const SharedArray& array : p.arrays) {
    if (!is_poison(p.shared + array.offset + array.bytes, kGuard)) fail("a write past the end of a shared array");
  }
}

}  // namespace

void fail(const char* message) {
  Processor& p = processor();
  std::fprintf(stderr, "emulation: %s: %s (block %u %u %u, thread %u)\n", p.operation, message,
               p.current == nullptr ? 0 : p.current->place.block.x, p.current == nullptr ? 0 : p.current->place.block.y,
               p.current == nullptr ? 0 : p.current->place.block.z, p.current_index);
  std::abort();
}

__thread const Place* running_place XGEN_RESERVED = nullptr;

void set_order_seed(std::uint64_t seed) {
  processor().order_seed = seed;
  processor().random.seed(seed);
}

std::int32_t stale(std::int32_t value) {
  Processor& p = processor();
  return p.order_seed != 0 && p.random() % 4 == 0 ? value + static_cast<std::int32_t>(p.random() % 5) - 2 : value;
}

void run(const char* operation, dim3 grid, unsigned threads, std::size_t shared_bytes, const std::function<void()>& kernel) {
  Processor& p = processor();
  p.operation = operation;
  p.current = nullptr;
  if (threads == 0 || threads > 1024 || threads % 32 != 0) fail("a block that is not 1 to 32 whole warps");
  if (shared_bytes > kSharedLimit) fail("more shared memory than there is");
  if (grid.y > 65535 || grid.z > 65535) fail("a grid too tall");
  const auto address = reinterpret_cast<std::uintptr_t>(p.shared_memory.data());
  p.shared = p.shared_memory.data() + (128 - address % 128) % 128;
  p.dynamic_bytes = shared_bytes;
  p.kernel = &kernel;
  while (p.fibers.size() < threads) p.fibers.push_back(std::make_unique<Fiber>());
  p.warps.resize(threads / 32);
  for (unsigned i = 0; i < threads; i++) {
    Fiber& f = *p.fibers[i];
    f.warp = &p.warps[i / 32];
    f.place.thread = {i, 0, 0};
    f.place.block_size = dim3(threads);
    f.place.grid_size = grid;
  }
  const std::size_t blocks = std::size_t{grid.x} * grid.y * grid.z;
  std::vector<std::size_t> order(blocks);
  for (std::size_t i = 0; i < blocks; i++) order[i] = i;
  if (p.order_seed != 0) std::shuffle(order.begin(), order.end(), p.random);
  for (const std::size_t block : order) {
    const uint3 place = {static_cast<unsigned>(block % grid.x), static_cast<unsigned>(block / grid.x % grid.y),
                         static_cast<unsigned>(block / grid.x / grid.y)};
    for (unsigned i = 0; i < threads; i++) {
      prepare(*p.fibers[i], i);
      p.fibers[i]->place.block = place;
    }
    run_block(p, threads);
  }
  p.current = nullptr;
  running_place = nullptr;
}

void block_barrier(int line) {
  Processor& p = processor();
  p.current->line = line;
  p.current->state = State::at_block;
  leave(p);
}

unsigned char* warp_slots() {
  const Processor& p = processor();
  // Two sets by turns: nobody writes the set that others still read, since the operation between them is a barrier too.
  return p.current->warp->slots[p.current->parity];
}

void warp_barrier() {
  Processor& p = processor();
  Fiber& f = *p.current;
  const unsigned index = p.current_index, base = index & ~31u, own = index & 31;
  f.parity ^= 1;
  f.warp->arrived |= 1u << own;
  if (f.warp->arrived == 0xffffffffu) {
    f.warp->arrived = 0;
    for (unsigned i = 0; i < 32; i++) {
      if (i != own) p.fibers[base + i]->state = State::ready;
    }
  } else {
    f.state = State::at_warp;
    leave(p);
  }
}

void* shared_array(const void* key, std::size_t bytes) {
  Processor& p = processor();
  for (const SharedArray& array : p.arrays) {
    if (array.key == key) return p.shared + array.offset;
  }
  const std::size_t offset = p.shared_used;
  p.shared_used = (offset + bytes + 127) / 128 * 128 + kGuard;
  if (offset + bytes - p.dynamic_bytes > 48 * 1024) fail("more than 48 KB of shared arrays");
  p.arrays.push_back({key, offset, bytes});
  return p.shared + offset;
}

void* dynamic_shared() { return processor().shared; }

void copy_async(void* destination, const void* source, std::size_t bytes, std::size_t source_bytes) {
  if (reinterpret_cast<std::uintptr_t>(destination) % bytes != 0 || reinterpret_cast<std::uintptr_t>(source) % bytes != 0) {
    fail("an unaligned asynchronous copy");
  }
  std::memset(destination, 0xff, bytes);
  processor().current->open.push_back({destination, source, bytes, source_bytes});
}
void commit_copies() {
  Fiber& f = *processor().current;
  f.groups.push_back(std::move(f.open));
  f.open.clear();
}
void wait_copies(unsigned groups_left) {
  Fiber& f = *processor().current;
  while (f.groups.size() > groups_left) {
    for (const Copy& c : f.groups.front()) {
      std::memcpy(c.destination, c.source, c.source_bytes);
      std::memset(static_cast<unsigned char*>(c.destination) + c.source_bytes, 0, c.bytes - c.source_bytes);
    }
    f.groups.erase(f.groups.begin());
  }
}

}  // namespace xgen::cuda::emulation
