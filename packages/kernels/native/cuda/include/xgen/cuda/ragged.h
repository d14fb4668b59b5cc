// Packed documents as cuDNN wants them: lengths, and where each document's rows start in arrays of different widths, in elements.
#pragma once

#include "xgen/cuda/operations.h"

namespace xgen::cuda {

struct RaggedOffsets {
  std::int32_t* lengths;                         // [batch]
  std::int64_t *rows, *out, *keys, *statistics;  // [batch + 1]: of qkv, of the output, of keys alone, of one number a query head
};

// batch: at least `documents`; those beyond are empty. Lengths that do not rise from 0 to `tokens` set `error`, and are bounded so that nothing
// outside the arrays is named.
void ragged_offsets(Stream stream, const std::int32_t* cumulative, std::size_t documents, std::size_t batch, std::size_t tokens,
                    const AttentionShape& shape, const RaggedOffsets& offsets, ErrorFlag* error);

// Query, key and value heads [tokens][heads][head dimension] of bfloat16, apart from each other.
struct SeparateHeads {
  void *query, *key, *value;
};
// To and from rows of qkv. The head dimension is a multiple of 8.
void pack_rows(Stream stream, const SeparateHeads& heads, void* qkv, std::size_t tokens, const AttentionShape& shape);
void unpack_rows(Stream stream, const void* qkv, const SeparateHeads& heads, std::size_t tokens, const AttentionShape& shape);

}  // namespace xgen::cuda
