// Fixed splits: how work is cut depends on its size alone, never on the number of threads.
#pragma once

#include <algorithm>
#include <cstddef>

#include "xgen/thread_pool.h"

namespace xgen {

constexpr std::size_t kRangeChunk = 16384;  // floats of a flat range: 64 KiB

inline std::size_t chunk_count(std::size_t total, std::size_t chunk) { return (total + chunk - 1) / chunk; }

// f(begin, end) over pieces of `chunk`.
template <class F>
void parallel_chunks(std::size_t total, std::size_t chunk, F&& f) {
  parallel_for(chunk_count(total, chunk), [&](std::size_t index) {
    const std::size_t begin = index * chunk;
    f(begin, std::min(total, begin + chunk));
  });
}

// Rows of `width` floats that make a piece of about 64 KiB.
inline std::size_t row_chunk(std::size_t width) { return std::max<std::size_t>(1, kRangeChunk / std::max<std::size_t>(1, width)); }

}  // namespace xgen
