// Descriptions of matrices for Hopper's copy engine (TMA), made on the host.
#pragma once

#include <cuda.h>

#include "xgen/cuda/launch.h"

namespace xgen::cuda {

using EncodeTensorMap = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
                                     const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                                     CUtensorMapFloatOOBfill);

// The driver's function, or null where it has none.
inline EncodeTensorMap encode_tensor_map() {
  static const EncodeTensorMap function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
    cudaGetLastError();
    return status == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<EncodeTensorMap>(found) : nullptr;
  }();
  return function;
}

// Whether the device that was current at the first call is a Hopper whose driver describes matrices.
inline bool on_hopper() {
  static const bool hopper = [] {
    int device = 0, major = 0;
    const bool asked = cudaGetDevice(&device) == cudaSuccess &&
                       cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess;
    return asked && major == 9 && encode_tensor_map() != nullptr;
  }();
  return hopper;
}

// A matrix [rows, columns] of bf16 with `stride` elements a row, copied in boxes that are swizzled by the bytes of their rows: 128 or 64. `promotion`:
// what the second-level cache fetches at once.
inline CUtensorMap tensor_map(const char* name, const void* data, std::size_t rows, std::size_t columns, std::size_t stride, unsigned box_columns,
                              unsigned box_rows, CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_256B) {
  CUtensorMap map;
  const cuuint64_t sizes[] = {columns, rows}, strides[] = {stride * 2};
  const cuuint32_t box[] = {box_columns, box_rows}, steps[] = {1, 1};
  const CUtensorMapSwizzle swizzle = box_columns * 2 == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B;
  const CUresult status = encode_tensor_map()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), sizes, strides, box, steps,
                                              CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) fail_launch(name, "a matrix cannot be described to the copy engine");
  return map;
}

}  // namespace xgen::cuda
