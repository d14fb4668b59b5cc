// Attention over packed documents and over the paged cache. The shape comes first: query heads, key-value heads, head
// dimension, scale.
#include "device_call.h"
#include "xgen/error.h"

namespace xgen::cuda::binding {

namespace {

AttentionShape shape_of(const DeviceCall& call) {
  const AttentionShape shape = {call.size(0), call.size(1), call.size(2), call.real(3)};
  if (shape.key_value_heads == 0 || shape.head_dimension == 0 || shape.query_heads % shape.key_value_heads != 0) {
    throw Error("INVALID_ARGUMENT", "Query heads must be a multiple of key-value heads.");
  }
  return shape;
}

// What attention itself can do.
AttentionShape computable_shape_of(const DeviceCall& call) {
  const AttentionShape shape = shape_of(call);
  if (shape.head_dimension % 2 != 0 || shape.head_dimension > 256) {
    throw Error("UNSUPPORTED", "Heads must be of an even size up to 256, but are of " + std::to_string(shape.head_dimension) + ".");
  }
  return shape;
}

// Whether cuDNN computes this call, and the workspace it wants then. It does not in deterministic mode, since its gradient adds in no fixed order,
// nor where a kernel here is faster, unless comparisons ask for it. Forward and gradient are chosen apart: both sides keep log_sum_exp alike.
bool fused(const DeviceCall& call, const PackedBatch& batch, const AttentionShape& shape, ElementType type, bool gradient, std::size_t* bytes) {
  Context& context = call.context();
  if (type != ElementType::bfloat16 || context.deterministic) return false;
  const bool better = gradient ? attention_grad_beats_library(type, batch.tokens, shape) : attention_beats_library(type, batch.tokens, shape);
  if (better && !context.library_attention) return false;
  return context.fused_attention.takes(batch, shape, gradient, bytes);
}

// Arguments from 4 on: tokens, documents, the longest one's tokens where the host knows them (else 0), qkv, cumulative lengths.
PackedBatch batch_of(const DeviceCall& call) {
  const std::size_t documents = call.size(5);
  return {call.int32(8, documents + 1), call.size(4), documents, call.size(6)};
}

napi_value attention(const DeviceCall& call) {
  const AttentionShape shape = computable_shape_of(call);
  const PackedBatch batch = batch_of(call);
  const Array qkv = call.floating(7, product(batch.tokens, shape.row()));
  const Array out = call.floating(9, product(batch.tokens, shape.query_heads * shape.head_dimension));
  float* const log_sum_exp = call.float32(10, product(batch.tokens, shape.query_heads));
  ErrorFlag* const error = call.context().flag(Checked::attention);
  std::size_t bytes = attention_workspace_bytes(batch.tokens, shape);
  const bool library = fused(call, batch, shape, qkv.type, false, &bytes);
  const Workspace workspace(call.context(), bytes);
  if (library) {
    call.context().fused_attention.forward(call.stream(), qkv.data, batch, out.data, log_sum_exp, shape, workspace.data(), error);
  } else {
    xgen::cuda::attention(call.stream(), qkv, batch.cumulative, batch.documents, out, log_sum_exp, batch.tokens, shape, workspace.data(), error);
  }
  return nullptr;
}

napi_value attentionGrad(const DeviceCall& call) {
  const AttentionShape shape = computable_shape_of(call);
  const PackedBatch batch = batch_of(call);
  const std::size_t out_count = product(batch.tokens, shape.query_heads * shape.head_dimension);
  const Array qkv = call.floating(7, product(batch.tokens, shape.row())), out = call.floating(9, out_count);
  const float* const log_sum_exp = call.float32(10, product(batch.tokens, shape.query_heads));
  const Array dy = call.floating(11, out_count), d_qkv = call.floating(12, product(batch.tokens, shape.row()));
  ErrorFlag* const error = call.context().flag(Checked::attention_grad);
  const bool any_order = !call.context().deterministic;
  std::size_t bytes = attention_grad_workspace_bytes(batch.tokens, shape, any_order);
  const bool library = fused(call, batch, shape, qkv.type, true, &bytes);
  const Workspace workspace(call.context(), bytes);
  if (library) {
    call.context().fused_attention.backward(call.stream(), qkv.data, batch, out.data, log_sum_exp, dy.data, d_qkv.data, shape, workspace.data(), error);
  } else {
    attention_grad(call.stream(), qkv, batch.cumulative, batch.documents, out, log_sum_exp, dy, d_qkv, batch.tokens, shape, workspace.data(), error,
                   any_order);
  }
  return nullptr;
}

napi_value pagedCacheAppend(const DeviceCall& call) {
  const AttentionShape shape = shape_of(call);
  const std::size_t tokens = call.size(4), cache_rows = call.size(5);
  const std::size_t cache = product(cache_rows, shape.key_value_heads * shape.head_dimension);
  paged_cache_append(call.stream(), call.floating(6, cache), call.floating(7, cache), cache_rows,
                     call.floating(8, product(tokens, shape.row())), call.int32(9, tokens), tokens, shape,
                     call.context().flag(Checked::cache_append));
  return nullptr;
}

// After the shape (of which the scale is rope's): tokens, cache rows, caches, qkv, positions, inverse frequencies, slots, y.
napi_value ropeAppend(const DeviceCall& call) {
  const AttentionShape shape = shape_of(call);
  const std::size_t tokens = call.size(4), cache_rows = call.size(5);
  const std::size_t cache = product(cache_rows, shape.key_value_heads * shape.head_dimension), count = product(tokens, shape.row());
  if (shape.head_dimension % 2 != 0) throw Error("INVALID_ARGUMENT", "Heads of an odd size cannot be rotated.");
  rope_append(call.stream(), call.floating(8, count), call.floating(12, count), call.int32(9, tokens), call.float32(10, shape.head_dimension / 2),
              shape.scale, call.floating(6, cache), call.floating(7, cache), cache_rows, call.int32(11, tokens), tokens, shape,
              call.context().flag(Checked::cache_append));
  return nullptr;
}

napi_value pagedAttention(const DeviceCall& call) {
  const AttentionShape shape = computable_shape_of(call);
  const std::size_t tokens = call.size(4), cache_rows = call.size(5), sequences = call.size(6), max_blocks = call.size(7);
  const std::size_t cache = product(cache_rows, shape.key_value_heads * shape.head_dimension);
  const PagedBatch batch = {call.int32(12, sequences + 1), call.int32(13, sequences), call.int32(14, product(sequences, max_blocks)),
                            sequences, max_blocks, call.size(8), cache_rows};
  if (batch.block_size == 0) throw Error("INVALID_ARGUMENT", "The block size is 0.");
  const Workspace workspace(call.context(), paged_attention_workspace_bytes(batch, tokens, shape));
  paged_attention(call.stream(), call.floating(9, product(tokens, shape.row())), call.floating(10, cache), call.floating(11, cache), batch,
                  call.floating(15, product(tokens, shape.query_heads * shape.head_dimension)), tokens, shape, workspace.data(),
                  call.context().arrivals(), call.context().flag(Checked::paged_attention));
  return nullptr;
}

}  // namespace

const Registration kAttentionFunctions[] = {
    XGEN_REGISTER_DEVICE(attention),      XGEN_REGISTER_DEVICE(attentionGrad), XGEN_REGISTER_DEVICE(pagedCacheAppend),
    XGEN_REGISTER_DEVICE(ropeAppend),     XGEN_REGISTER_DEVICE(pagedAttention), {nullptr, nullptr},
};

}  // namespace xgen::cuda::binding
