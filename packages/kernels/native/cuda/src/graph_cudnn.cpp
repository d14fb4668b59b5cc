#include "graph_cudnn.h"

#include <utility>

#include "xgen/error.h"

namespace xgen::cuda::cudnn {

namespace {

void check(const Library& library, Status status, const char* what) {
  if (status == 0) return;
  char message[512] = "";
  library.last_error(message, sizeof(message));
  throw Error(status >= 3000 && status < 4000 ? "CUDNN_UNSUPPORTED" : "CUDNN_FAILURE",
              std::string("cuDNN: ") + what + " failed with status " + std::to_string(status) + (message[0] == '\0' ? "" : ": ") + message + ".");
}

Sizes row_major(const Sizes& sizes) { return {sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1}; }

}  // namespace

Owned::Owned(const Library& library, int kind) : library_(&library) {
  check(library, library.create_descriptor(kind, &descriptor_), "making a descriptor");
}
Owned::Owned(Owned&& other) noexcept : library_(other.library_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}
Owned& Owned::operator=(Owned&& other) noexcept {
  std::swap(library_, other.library_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}
Owned::~Owned() {
  if (descriptor_ != nullptr) library_->destroy_descriptor(descriptor_);
}
void Owned::set(int attribute, int element, std::int64_t count, const void* values) {
  check(*library_, library_->set_attribute(descriptor_, attribute, element, count, values), "describing");
}
void Owned::set(int attribute, const Owned& value) { set(attribute, kDescriptorElement, 1, &value.descriptor_); }
void Owned::finalize() { check(*library_, library_->finalize(descriptor_), "finishing a description"); }

TensorNumber GraphBuilder::tensor(const Sizes& sizes, const Sizes& strides, TensorOptions options) {
  const TensorNumber number = static_cast<TensorNumber>(tensors_.size()) + 1;
  Owned made(library_, kTensor);
  const std::int64_t alignment = 16;
  made.set(kTensorId, kInt64Element, 1, &number);
  made.set(kTensorType, kDataTypeElement, 1, &options.type);
  made.set(kTensorSizes, kInt64Element, 4, sizes.data());
  made.set(kTensorStrides, kInt64Element, 4, strides.data());
  made.set(kTensorAlignment, kInt64Element, 1, &alignment);
  made.set(kTensorVirtual, kBooleanElement, 1, &options.inside);
  if (options.number) made.set(kTensorByValue, kBooleanElement, 1, &options.number);
  if (options.offsets >= 0) made.set(kTensorRaggedOffsets, descriptor(options.offsets));
  made.finalize();
  tensors_.push_back({std::move(made), sizes, strides, options});
  return number;
}

TensorNumber GraphBuilder::inside(const Sizes& sizes, int type) { return tensor(sizes, row_major(sizes), {type}); }

TensorNumber GraphBuilder::number() { return tensor({1, 1, 1, 1}, {1, 1, 1, 1}, {kFloat32, false, true}); }

TensorNumber GraphBuilder::viewed(TensorNumber x, const Sizes& sizes, const Sizes& strides, TensorOptions options) {
  const TensorNumber y = tensor(sizes, strides, options);
  Owned operation(library_, kReshapeOperation);
  operation.set(kReshapeX, descriptor(x));
  operation.set(kReshapeY, descriptor(y));
  operation.finalize();
  operations_.push_back(std::move(operation));
  return y;
}

TensorNumber GraphBuilder::transposed(TensorNumber x, int type) {
  const auto [batch, heads, rows, columns] = at(x).sizes;
  return viewed(x, {batch, heads, columns, rows}, {heads * rows * columns, rows * columns, 1, columns}, {type});
}

TensorNumber GraphBuilder::pointwise(int mode, TensorNumber x, TensorNumber b, TensorNumber condition, int type, int precision, TensorNumber y) {
  if (y < 0) y = tensor(at(x).sizes, row_major(at(x).sizes), {type});
  Owned kind(library_, kPointwise);
  kind.set(kPointwiseMode, kPointwiseModeElement, 1, &mode);
  kind.set(kPointwisePrecision, kDataTypeElement, 1, &precision);
  kind.finalize();
  Owned operation(library_, kPointwiseOperation);
  operation.set(kPointwiseDescriptor, kind);
  operation.set(kPointwiseX, descriptor(x));
  if (b >= 0) operation.set(kPointwiseB, descriptor(b));
  if (condition >= 0) operation.set(kPointwiseT, descriptor(condition));
  operation.set(kPointwiseY, descriptor(y));
  operation.finalize();
  pieces_.push_back(std::move(kind));
  operations_.push_back(std::move(operation));
  return y;
}

TensorNumber GraphBuilder::index(TensorNumber like, std::int64_t axis, int precision) {
  const TensorNumber y = inside(at(like).sizes, kInt32);
  Owned kind(library_, kPointwise);
  kind.set(kPointwiseMode, kPointwiseModeElement, 1, &kIndex);
  kind.set(kPointwisePrecision, kDataTypeElement, 1, &precision);
  kind.set(kPointwiseAxis, kInt64Element, 1, &axis);
  kind.finalize();
  Owned operation(library_, kPointwiseOperation);
  operation.set(kPointwiseDescriptor, kind);
  operation.set(kPointwiseX, descriptor(like));
  operation.set(kPointwiseY, descriptor(y));
  operation.finalize();
  pieces_.push_back(std::move(kind));
  operations_.push_back(std::move(operation));
  return y;
}

void GraphBuilder::reduce(int operation_kind, TensorNumber x, TensorNumber y) {
  Owned kind(library_, kReduction);
  kind.set(kReductionPrecision, kDataTypeElement, 1, &kFloat32);
  kind.set(kReductionOperator, kReductionOperatorElement, 1, &operation_kind);
  kind.finalize();
  Owned operation(library_, kReductionOperation);
  operation.set(kReductionDescriptor, kind);
  operation.set(kReductionX, descriptor(x));
  operation.set(kReductionY, descriptor(y));
  operation.finalize();
  pieces_.push_back(std::move(kind));
  operations_.push_back(std::move(operation));
}

void GraphBuilder::multiply(TensorNumber a, TensorNumber b, TensorNumber c, const Extents& extents) {
  Owned kind(library_, kMatmul);
  kind.set(kMatmulPrecision, kDataTypeElement, 1, &kFloat32);
  const double zero = 0;
  if (extents.padded) kind.set(kMatmulPadding, kDoubleElement, 1, &zero);
  kind.finalize();
  Owned operation(library_, kMatmulOperation);
  operation.set(kMatmulDescriptor, kind);
  operation.set(kMatmulA, descriptor(a));
  operation.set(kMatmulB, descriptor(b));
  operation.set(kMatmulC, descriptor(c));
  if (extents.rows >= 0) operation.set(kMatmulRows, descriptor(extents.rows));
  if (extents.columns >= 0) operation.set(kMatmulColumns, descriptor(extents.columns));
  if (extents.depth >= 0) operation.set(kMatmulDepth, descriptor(extents.depth));
  operation.finalize();
  pieces_.push_back(std::move(kind));
  operations_.push_back(std::move(operation));
}

std::optional<Plan> GraphBuilder::build() {
  Owned graph(library_, kOperationGraph);
  graph.set(kGraphHandle, kHandleElement, 1, &handle_);
  std::vector<Descriptor> list;
  for (const Owned& operation : operations_) list.push_back(operation.get());
  graph.set(kGraphOperations, kDescriptorElement, static_cast<std::int64_t>(list.size()), list.data());
  graph.finalize();

  for (const int mode : {kModeA, kModeFallback}) {
    Owned heuristics(library_, kHeuristics);
    heuristics.set(kHeuristicsGraph, graph);
    heuristics.set(kHeuristicsMode, kHeuristicsModeElement, 1, &mode);
    if (library_.finalize(heuristics.get()) != 0) continue;
    std::int64_t proposed = 0, found = 0;
    if (library_.get_attribute(heuristics.get(), kHeuristicsResults, kDescriptorElement, 0, &proposed, nullptr) != 0 || proposed == 0) continue;
    std::vector<Owned> configurations;
    std::vector<Descriptor> results;
    for (std::int64_t i = 0; i < proposed; i++) results.push_back(configurations.emplace_back(library_, kEngineConfiguration).get());
    check(library_, library_.get_attribute(heuristics.get(), kHeuristicsResults, kDescriptorElement, proposed, &found, results.data()), "asking for engines");
    for (std::int64_t i = 0; i < found && i < proposed; i++) {
      Owned plan(library_, kExecutionPlan);
      plan.set(kPlanHandle, kHandleElement, 1, &handle_);
      plan.set(kPlanConfiguration, configurations[static_cast<std::size_t>(i)]);
      if (library_.finalize(plan.get()) != 0) continue;
      std::int64_t bytes = 0, count = 0;
      check(library_, library_.get_attribute(plan.get(), kPlanWorkspaceBytes, kInt64Element, 1, &count, &bytes), "asking for the workspace");
      return Plan{std::move(plan), static_cast<std::size_t>(bytes)};
    }
  }
  return std::nullopt;
}

void execute(const Library& library, Handle handle, const Plan& plan, const std::vector<Binding>& bindings, void* workspace) {
  std::vector<std::int64_t> ids;
  std::vector<const void*> pointers;
  for (const Binding& binding : bindings) {
    ids.push_back(binding.tensor);
    pointers.push_back(binding.pointer);
  }
  const auto count = static_cast<std::int64_t>(bindings.size());
  Owned pack(library, kVariantPack);
  pack.set(kVariantPointers, kPointerElement, count, pointers.data());
  pack.set(kVariantIds, kInt64Element, count, ids.data());
  pack.set(kVariantWorkspace, kPointerElement, 1, &workspace);
  pack.finalize();
  check(library, library.execute(handle, plan.plan.get(), pack.get()), "running a graph");
}

}  // namespace xgen::cuda::cudnn
