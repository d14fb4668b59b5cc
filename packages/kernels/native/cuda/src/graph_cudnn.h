// Graphs of operations for cuDNN, which finds the engine that computes such a graph at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cudnn.h"

namespace xgen::cuda::cudnn {

// Owns a descriptor.
class Owned {
 public:
  Owned(const Library& library, int kind);
  Owned(Owned&& other) noexcept;
  Owned& operator=(Owned&& other) noexcept;
  ~Owned();
  Descriptor get() const { return descriptor_; }
  void set(int attribute, int element, std::int64_t count, const void* values);
  void set(int attribute, const Owned& value);
  void finalize();

 private:
  const Library* library_;
  Descriptor descriptor_ = nullptr;
};

// An executable graph, and the bytes it wants besides its tensors.
struct Plan {
  Owned plan;
  std::size_t workspace_bytes;
};

using Sizes = std::array<std::int64_t, 4>;  // batch, heads, rows, columns
using TensorNumber = std::int64_t;          // also the id that its pointer is bound to

// What a tensor of a graph is besides its sizes.
struct TensorOptions {
  int type = kFloat32;
  bool inside = true;       // of the graph: has no memory
  bool number = false;      // one value, bound to a pointer on the host
  TensorNumber offsets = -1;  // where each batch entry starts in memory, in elements
};

// Throws xgen::Error("CUDNN_UNSUPPORTED") where cuDNN will not have a piece, CUDNN_FAILURE where it fails.
class GraphBuilder {
 public:
  GraphBuilder(const Library& library, Handle handle) : library_(library), handle_(handle) {}

  TensorNumber tensor(const Sizes& sizes, const Sizes& strides, TensorOptions options);
  TensorNumber inside(const Sizes& sizes, int type = kFloat32);           // rows after each other
  TensorNumber number();                                                  // float32
  TensorNumber transposed(TensorNumber x, int type);                      // of the last two axes, inside
  TensorNumber viewed(TensorNumber x, const Sizes& sizes, const Sizes& strides, TensorOptions options);  // the same memory

  // y is made, inside the graph and of x's sizes, where it is not given. Precision: what is computed in.
  TensorNumber pointwise(int mode, TensorNumber x, TensorNumber b = -1, TensorNumber condition = -1, int type = kFloat32, int precision = kFloat32,
                         TensorNumber y = -1);
  TensorNumber index(TensorNumber like, std::int64_t axis, int precision);
  void reduce(int operation, TensorNumber x, TensorNumber y);
  struct Extents {
    TensorNumber rows = -1, columns = -1, depth = -1;  // of each batch entry, where fewer count than the sizes say
    bool padded = false;                               // with zeros beyond
  };
  void multiply(TensorNumber a, TensorNumber b, TensorNumber c, const Extents& extents);

  // The first plan that works of those that cuDNN's heuristics propose, best first; nothing where there is none.
  std::optional<Plan> build();

 private:
  struct Tensor {
    Owned descriptor;
    Sizes sizes, strides;
    TensorOptions options;
  };
  const Owned& descriptor(TensorNumber number) const { return tensors_[static_cast<std::size_t>(number - 1)].descriptor; }
  const Tensor& at(TensorNumber number) const { return tensors_[static_cast<std::size_t>(number - 1)]; }

  const Library& library_;
  Handle handle_;
  std::vector<Tensor> tensors_;
  std::vector<Owned> pieces_;      // what operations are made of
  std::vector<Owned> operations_;
};

// Runs a plan: each tensor that has memory, and each number, with its pointer.
struct Binding {
  TensorNumber tensor;
  const void* pointer;
};
void execute(const Library& library, Handle handle, const Plan& plan, const std::vector<Binding>& bindings, void* workspace);

}  // namespace xgen::cuda::cudnn
