#include "xgen/matrix.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "xgen/error.h"
#include "xgen/memory.h"
#include "xgen/thread_pool.h"

namespace xgen {

namespace {

constexpr std::size_t kPackedLimit = std::size_t{64} << 20;  // bytes of the right operand packed at a time
constexpr std::size_t kColumnBlock = 16;                     // panels of a task: with one block of k they fit the second-level cache
constexpr std::size_t kTasksPerThread = 4;                   // enough to even out threads that are slowed down

std::size_t ceil_divide(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

// Part `index` of `parts` nearly equal parts of `total`.
std::size_t part_begin(std::size_t total, std::size_t parts, std::size_t index) { return total * index / parts; }

MatrixView columns_from(const MatrixView& right, std::size_t first) {
  const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(first);
  return {right.data + (right.transposed ? offset * right.stride : offset), right.stride, right.transposed};
}

void clear(const MatrixProduct& p, const BlockCallback* finished) {
  if (!p.accumulate) {
    for (std::size_t i = 0; i < p.m; i++) std::fill_n(p.c + static_cast<std::ptrdiff_t>(i) * p.c_stride, p.n, 0.0f);
  }
  if (finished != nullptr) finished->call(finished->context, 0, p.m, 0, p.n);
}

std::size_t block_count(const KernelTable& t, std::size_t k, Precision precision) {
  return k == 0 ? 0 : ceil_divide(k, t.k_block(k, precision));
}

// Few rows: the right operand is read once and hardly reused, so each task packs its own columns just before use.
void multiply_few_rows(const MatrixProduct& p, const BlockCallback* finished, const KernelTable& t) {
  const std::size_t panels = ceil_divide(p.n, t.column_tile);
  const std::size_t threads = static_cast<std::size_t>(thread_count());
  const std::size_t group = std::clamp<std::size_t>(panels / (threads * kTasksPerThread), 1, 4);
  const std::size_t blocks = block_count(t, p.k, p.precision);
  parallel_for(ceil_divide(panels, group), [&](std::size_t task) {
    const std::size_t first = task * group, count = std::min(group, panels - first);
    const std::size_t column = first * t.column_tile, columns = std::min(p.n - column, count * t.column_tile);
    void* packed = thread_scratch(ScratchSlot::packed_right).reserve(t.packed_bytes(p.k, count, p.precision));
    const MatrixView right = columns_from(p.right, column);
    for (std::size_t block = 0; block < blocks; block++) {
      t.pack_right(right, p.k, columns, block, 0, count, count, packed, p.precision);
    }
    t.multiply_block({p.left, 0, p.m, packed, count, 0, count, column, p.n, p.k, p.c, p.c_stride, p.accumulate, p.precision});
    if (finished != nullptr) finished->call(finished->context, 0, p.m, column, column + columns);
  });
}

void multiply_slice(const MatrixProduct& p, std::size_t column0, const BlockCallback* finished, const KernelTable& t) {
  const PackedRight packed = pack_all(p.right, p.k, p.n, p.precision);
  const std::size_t row_tiles = ceil_divide(p.m, t.row_tile);
  const std::size_t wanted = static_cast<std::size_t>(thread_count()) * kTasksPerThread;
  const std::size_t column_blocks = ceil_divide(packed.panels, kColumnBlock);
  const std::size_t coarse = std::min(row_tiles, std::max(ceil_divide(wanted, column_blocks), ceil_divide(row_tiles, 16)));
  // Blocks of two or three tiles are too unequal: the threads would wait for the one that got the last of the larger.
  const std::size_t row_blocks = row_tiles < 4 * coarse ? row_tiles : coarse;
  parallel_for(row_blocks * column_blocks, [&](std::size_t task) {
    const std::size_t column_block = task / row_blocks, row_block = task % row_blocks;
    const std::size_t m0 = part_begin(row_tiles, row_blocks, row_block) * t.row_tile;
    const std::size_t m1 = std::min(p.m, part_begin(row_tiles, row_blocks, row_block + 1) * t.row_tile);
    const std::size_t panel0 = part_begin(packed.panels, column_blocks, column_block);
    const std::size_t panel1 = part_begin(packed.panels, column_blocks, column_block + 1);
    t.multiply_block({p.left, m0, m1, packed.data, packed.panels, panel0, panel1, 0, p.n, p.k, p.c, p.c_stride, p.accumulate,
                      p.precision});
    if (finished != nullptr) {
      finished->call(finished->context, m0, m1, column0 + panel0 * t.column_tile,
                     column0 + std::min(p.n, panel1 * t.column_tile));
    }
  });
}

void pack_panels(const KernelTable& t, const MatrixView& right, std::size_t k, std::size_t columns, Precision precision,
                 void* packed) {
  const std::size_t panels = ceil_divide(columns, t.column_tile);
  // Rows are read along: neighbouring panels of one block together.
  const std::size_t group = right.transposed ? 1 : 256 / t.column_tile;
  const std::size_t groups = ceil_divide(panels, group);
  parallel_for(block_count(t, k, precision) * groups, [&](std::size_t task) {
    const std::size_t first = task % groups * group;
    t.pack_right(right, k, columns, task / groups, first, std::min(panels, first + group), panels, packed, precision);
  });
}

// What stands before the panels of a weight packed ahead.
struct PackedHeader {
  std::uint64_t mark, column_tile, k, columns, bytes, precision;
};
constexpr std::uint64_t kMark = 0x7867656e31ull;

PackedHeader header_for(const KernelTable& t, std::size_t k, std::size_t columns, Precision precision) {
  const std::size_t bytes = t.packed_bytes(k, ceil_divide(columns, t.column_tile), precision);
  return {kMark, t.column_tile, k, columns, bytes, static_cast<std::uint64_t>(precision)};
}

}  // namespace

PackedRight pack_all(const MatrixView& right, std::size_t k, std::size_t columns, Precision precision) {
  const KernelTable& t = kernels();
  const std::size_t panels = ceil_divide(columns, t.column_tile);
  void* packed = thread_scratch(ScratchSlot::packed_right).reserve(t.packed_bytes(k, panels, precision));
  pack_panels(t, right, k, columns, precision, packed);
  return {packed, panels};
}

std::size_t packed_weight_bytes(std::size_t k, std::size_t columns, Precision precision) {
  return kAlignment + header_for(kernels(), k, columns, precision).bytes;
}

void pack_weight(const MatrixView& right, std::size_t k, std::size_t columns, Precision precision, void* packed) {
  const KernelTable& t = kernels();
  const PackedHeader header = header_for(t, k, columns, precision);
  std::memcpy(packed, &header, sizeof(header));
  pack_panels(t, right, k, columns, precision, static_cast<char*>(packed) + kAlignment);
}

void multiply_packed(const MatrixView& left, const void* packed, std::size_t bytes, float* c, std::size_t m, std::size_t n,
                     std::size_t k, Precision precision) {
  const KernelTable& t = kernels();
  const PackedHeader header = header_for(t, k, n, precision);
  if (bytes < kAlignment + header.bytes || std::memcmp(packed, &header, sizeof(header)) != 0) {
    throw Error("STALE_WEIGHT", "The packed weight was made for another product.");
  }
  const void* panels_data = static_cast<const char*>(packed) + kAlignment;
  const std::size_t panels = ceil_divide(n, t.column_tile);
  const std::size_t wanted = static_cast<std::size_t>(thread_count()) * kTasksPerThread;
  const std::size_t tasks = std::min(panels, std::max(wanted, ceil_divide(panels, kColumnBlock)));
  parallel_for(tasks, [&](std::size_t task) {
    t.multiply_block({left, 0, m, panels_data, panels, part_begin(panels, tasks, task), part_begin(panels, tasks, task + 1), 0, n,
                      k, c, static_cast<std::ptrdiff_t>(n), false, precision});
  });
}

void multiply(const MatrixProduct& p, const BlockCallback* finished) {
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) return clear(p, finished);
  const KernelTable& t = kernels();
  if (p.m <= 5 * t.row_tile) return multiply_few_rows(p, finished, t);
  const std::size_t panel_bytes = t.packed_bytes(p.k, 1, p.precision);
  const std::size_t slice = std::max<std::size_t>(kPackedLimit / panel_bytes, kColumnBlock) * t.column_tile;
  for (std::size_t column = 0; column < p.n; column += slice) {
    MatrixProduct part = p;
    part.n = std::min(slice, p.n - column);
    part.right = columns_from(p.right, column);
    part.c = p.c + column;
    multiply_slice(part, column, finished, t);
  }
}

}  // namespace xgen
