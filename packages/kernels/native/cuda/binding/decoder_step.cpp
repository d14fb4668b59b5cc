// A whole decoding step.
#include <array>
#include <vector>

#include "device_call.h"
#include "values.h"
#include "xgen/cuda/decoder_step.h"
#include "xgen/error.h"

namespace xgen::cuda::binding {

namespace {

constexpr std::size_t kLayerArrays = 8;

// Sizes only, from argument 0 on: query heads, key-value heads, head size, scale, rope's scaling, epsilon, rows, width, feed-forward width, vocabulary,
// layers, cache rows, blocks of a table's row, block size.
DecoderStep sizes_of(const DeviceCall& call) {
  DecoderStep step = {};
  step.shape = {call.size(0), call.size(1), call.size(2), call.real(3)};
  if (step.shape.key_value_heads == 0 || step.shape.head_dimension == 0 || step.shape.query_heads == 0 ||
      step.shape.query_heads % step.shape.key_value_heads != 0) {
    throw Error("INVALID_ARGUMENT", "Query heads must be a multiple of key-value heads.");
  }
  step.rope_scaling = call.real(4);
  step.epsilon = call.real(5);
  step.rows = call.size(6);
  step.width = call.size(7);
  step.feed_forward = call.size(8);
  step.vocabulary = call.size(9);
  step.layer_count = call.size(10);
  step.cache_rows = call.size(11);
  step.max_blocks = call.size(12);
  step.block_size = call.size(13);
  if (step.block_size == 0) throw Error("INVALID_ARGUMENT", "The block size is 0.");
  return step;
}

const void* weight(const Array& array) {
  if (array.type != ElementType::bfloat16) throw Error("INVALID_ARGUMENT", "A decoding step's weights, caches and stream must be bfloat16.");
  return array.data;
}

napi_value decoderStepTakes(const DeviceCall& call) { return make_boolean(call.env(), decoder_step_takes(sizes_of(call))); }

// After the sizes: the layers' arrays (attention norm, qkv, output, feed-forward norm, gate and up, down, keys, values of one layer after the other), stream,
// final norm, head, positions, slots, inverse frequencies, context lengths, block tables, logits, a table, its rows, ids, whether sequences advance. With a
// table and ids there is no stream.
napi_value decoderStep(const DeviceCall& call) {
  Context& context = call.context();
  DecoderStep step = sizes_of(call);
  if (!decoder_step_takes(step)) throw Error("UNSUPPORTED", "A decoding step of these sizes has no kernel.");
  const std::size_t q = product(step.shape.query_heads, step.shape.head_dimension), kv = product(step.shape.key_value_heads, step.shape.head_dimension);
  const std::size_t width = step.width, cache = product(step.cache_rows, kv);
  const std::array<std::size_t, kLayerArrays> counts = {
      width, product(step.shape.row(), width), product(width, q), width, product(2 * step.feed_forward, width), product(width, step.feed_forward), cache, cache};
  const std::vector<Handle> handles = call.handles(14, kLayerArrays * step.layer_count);
  const Array final_norm = call.floating(16, width);
  step.norm_type = final_norm.type;
  std::vector<DecoderLayer> layers;
  for (std::size_t l = 0; l < step.layer_count; l++) {
    std::array<Array, kLayerArrays> arrays;
    for (std::size_t i = 0; i < kLayerArrays; i++) arrays[i] = call.floating(handles[l * kLayerArrays + i], counts[i], 14);
    if (arrays[0].type != step.norm_type || arrays[3].type != step.norm_type) throw Error("INVALID_ARGUMENT", "All norms must be of one type.");
    layers.push_back({arrays[0].data, weight(arrays[1]), weight(arrays[2]), arrays[3].data, weight(arrays[4]), weight(arrays[5]),
                      const_cast<void*>(weight(arrays[6])), const_cast<void*>(weight(arrays[7]))});
  }
  step.layers = layers.data();
  if (call.absent(15) == call.absent(24)) throw Error("INVALID_ARGUMENT", "A decoding step starts from a stream, or from a table and ids.");
  if (call.absent(24)) {
    step.stream = weight(call.floating(15, product(step.rows, width)));
  } else {
    step.table_rows = call.size(25);
    const Array table = call.floating(24, product(step.table_rows, width));
    step.table = table.data;
    step.table_type = table.type;
    step.ids = call.int32(26, step.rows);
  }
  step.advance = call.boolean(27);
  step.final_norm = final_norm.data;
  step.head = weight(call.floating(17, product(step.vocabulary, width)));
  step.positions = call.int32(18, step.rows);
  step.slots = call.int32(19, step.rows);
  step.inverse_frequencies = call.float32(20, step.shape.head_dimension / 2);
  step.context_lengths = call.int32(21, step.rows);
  step.block_tables = call.int32(22, product(step.rows, step.max_blocks));
  step.logits = call.floating(23, product(step.rows, step.vocabulary));
  const Workspace workspace(context, decoder_step_workspace_bytes(step));
  decoder_step(call.stream(), step, workspace.data(), context.arrivals(),
               {context.flag(Checked::embedding), context.flag(Checked::cache_append), context.flag(Checked::paged_attention)});
  return nullptr;
}

}  // namespace

const Registration kDecoderStepFunctions[] = {XGEN_REGISTER_DEVICE(decoderStepTakes), XGEN_REGISTER_DEVICE(decoderStep), {nullptr, nullptr}};

}  // namespace xgen::cuda::binding
