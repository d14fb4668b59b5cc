// Attention over packed documents and over the paged cache. The shape comes first: query heads, key-value heads, head
// dimension, scale.
#include "bindings.h"
#include "xgen/error.h"
#include "xgen/operations.h"

namespace xgen::binding {

namespace {

AttentionShape shape_of(const Call& call) {
  const AttentionShape shape = {call.size(0), call.size(1), call.size(2), call.real(3)};
  if (shape.key_value_heads == 0 || shape.head_dimension == 0 || shape.query_heads % shape.key_value_heads != 0) {
    throw Error("INVALID_ARGUMENT", "Query heads must be a multiple of key-value heads.");
  }
  return shape;
}

napi_value attention(const Call& call) {
  const AttentionShape shape = shape_of(call);
  const std::size_t tokens = call.size(4), documents = call.size(5);
  xgen::attention(call.floats(6, product(tokens, shape.row())), call.integers(7, documents + 1), documents,
                  call.floats(8, product(tokens, shape.query_heads * shape.head_dimension)),
                  call.floats(9, product(tokens, shape.query_heads)), tokens, shape);
  return nullptr;
}

napi_value attentionGrad(const Call& call) {
  const AttentionShape shape = shape_of(call);
  const std::size_t tokens = call.size(4), documents = call.size(5);
  const std::size_t row = shape.row(), out_count = product(tokens, shape.query_heads * shape.head_dimension);
  xgen::attention_grad(call.floats(6, product(tokens, row)), call.integers(7, documents + 1), documents,
                       call.floats(8, out_count), call.floats(9, product(tokens, shape.query_heads)), call.floats(10, out_count),
                       call.floats(11, product(tokens, row)), tokens, shape);
  return nullptr;
}

napi_value pagedCacheAppend(const Call& call) {
  const AttentionShape shape = shape_of(call);
  const std::size_t tokens = call.size(4), cache_rows = call.size(5);
  const std::size_t cache = product(cache_rows, shape.key_value_heads * shape.head_dimension);
  xgen::paged_cache_append(call.floats(6, cache), call.floats(7, cache), cache_rows, call.floats(8, product(tokens, shape.row())),
                           call.integers(9, tokens), tokens, shape);
  return nullptr;
}

napi_value pagedAttention(const Call& call) {
  const AttentionShape shape = shape_of(call);
  const std::size_t tokens = call.size(4), cache_rows = call.size(5), sequences = call.size(6), max_blocks = call.size(7);
  const std::size_t block_size = call.size(8);
  if (block_size == 0) throw Error("INVALID_ARGUMENT", "blockSize is 0.");
  const std::size_t cache = product(cache_rows, shape.key_value_heads * shape.head_dimension);
  const PagedBatch batch = {call.integers(12, sequences + 1), call.integers(13, sequences),
                            call.integers(14, product(sequences, max_blocks)), sequences, max_blocks, block_size, cache_rows};
  xgen::paged_attention(call.floats(9, product(tokens, shape.row())), call.floats(10, cache), call.floats(11, cache), batch,
                        call.floats(15, product(tokens, shape.query_heads * shape.head_dimension)), tokens, shape);
  return nullptr;
}

}  // namespace

const Registration kAttentionFunctions[] = {
    XGEN_REGISTER(attention),
    XGEN_REGISTER(attentionGrad),
    XGEN_REGISTER(pagedCacheAppend),
    XGEN_REGISTER(pagedAttention),
    {nullptr, nullptr},
};

}  // namespace xgen::binding
