// The part of cuBLASLt's binary interface that is used here (the same since CUDA 11), with the functions opened at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace xgen::cuda::cublaslt {

using Handle = void*;
using Descriptor = void*;
using Layout = void*;
using Preference = void*;
using Status = int;  // 0: success

constexpr Status kNotSupported = 15;

// cudaDataType, cublasComputeType_t, cublasOperation_t
constexpr int kFloat32 = 0, kBfloat16 = 14;
constexpr int kComputeFloat32 = 68, kComputeTensorFloat32 = 77;
constexpr std::int32_t kPlain = 0, kTransposed = 1;

// Attributes of a descriptor, a layout, a preference.
constexpr int kDescriptorTransposeA = 3, kDescriptorTransposeB = 4;
constexpr int kLayoutBatchCount = 5, kLayoutBatchStep = 6;
constexpr int kPreferenceWorkspaceBytes = 1;
constexpr int kPreferenceAlignmentA = 5, kPreferenceAlignmentB = 6, kPreferenceAlignmentC = 7, kPreferenceAlignmentD = 8;

struct Algorithm {
  std::uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  std::size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

struct Library {
  std::string file;
  std::size_t version;  // 10000 * major + 100 * minor + patch, since CUDA 12; 1000 * major before

  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  Status (*create_descriptor)(Descriptor*, int compute, int scale);
  Status (*destroy_descriptor)(Descriptor);
  Status (*set_descriptor)(Descriptor, int attribute, const void* value, std::size_t bytes);
  Status (*create_layout)(Layout*, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t stride);
  Status (*destroy_layout)(Layout);
  Status (*set_layout)(Layout, int attribute, const void* value, std::size_t bytes);
  Status (*create_preference)(Preference*);
  Status (*destroy_preference)(Preference);
  Status (*set_preference)(Preference, int attribute, const void* value, std::size_t bytes);
  Status (*heuristics)(Handle, Descriptor, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, Heuristic*, int* found);
  Status (*multiply)(Handle, Descriptor, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta,
                     const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, std::size_t workspace_bytes,
                     void* stream);
};

// The library, opened once a process and never closed; null where there is none, with what was tried in `failure`.
const Library* open(std::string* failure);

}  // namespace xgen::cuda::cublaslt
