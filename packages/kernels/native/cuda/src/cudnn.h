// The part of cuDNN's graph interface that is used here (the same in every cuDNN 9), with the functions opened at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace xgen::cuda::cudnn {

using Handle = void*;
using Descriptor = void*;
using Status = int;  // 0: success; 3000 to 3999: cuDNN cannot compute it

// What a descriptor describes.
constexpr int kPointwise = 0, kEngineConfiguration = 3, kHeuristics = 4, kExecutionPlan = 5;
constexpr int kPointwiseOperation = 13, kOperationGraph = 15, kVariantPack = 16, kTensor = 17, kMatmul = 18, kMatmulOperation = 19;
constexpr int kReduction = 21, kReductionOperation = 22, kReshapeOperation = 31;

// Attributes.
constexpr int kPointwiseMode = 0, kPointwisePrecision = 1, kPointwiseAxis = 9;
constexpr int kHeuristicsMode = 200, kHeuristicsGraph = 201, kHeuristicsResults = 202;
constexpr int kPlanHandle = 400, kPlanConfiguration = 401, kPlanWorkspaceBytes = 402;
constexpr int kPointwiseDescriptor = 750, kPointwiseX = 751, kPointwiseB = 752, kPointwiseY = 753, kPointwiseT = 758;
constexpr int kGraphHandle = 800, kGraphOperations = 801;
constexpr int kTensorAlignment = 900, kTensorType = 901, kTensorSizes = 902, kTensorStrides = 903, kTensorId = 906, kTensorVirtual = 907;
constexpr int kTensorByValue = 908, kTensorRaggedOffsets = 913;
constexpr int kVariantIds = 1000, kVariantPointers = 1001, kVariantWorkspace = 1003;
constexpr int kMatmulPrecision = 1500, kMatmulPadding = 1503;
constexpr int kMatmulA = 1520, kMatmulB = 1521, kMatmulC = 1522, kMatmulDescriptor = 1523, kMatmulRows = 1525, kMatmulColumns = 1526, kMatmulDepth = 1527;
constexpr int kReductionOperator = 1600, kReductionPrecision = 1601, kReductionX = 1610, kReductionY = 1611, kReductionDescriptor = 1612;
constexpr int kReshapeX = 2200, kReshapeY = 2201;

// What an attribute's elements are.
constexpr int kHandleElement = 0, kDataTypeElement = 1, kBooleanElement = 2, kInt64Element = 3, kDoubleElement = 5, kPointerElement = 6;
constexpr int kHeuristicsModeElement = 8, kPointwiseModeElement = 14, kDescriptorElement = 15, kReductionOperatorElement = 18;

// cudnnDataType_t
constexpr int kFloat32 = 0, kInt32 = 4, kBfloat16 = 9, kInt64 = 10, kBoolean = 11;
// cudnnPointwiseMode_t
constexpr int kAdd = 0, kMultiply = 1, kDivide = 6, kSubtract = 9, kExponential = 13, kLogarithm = 15, kIdentity = 21;
constexpr int kGreaterEqual = 303, kLess = 304, kAnd = 400, kIndex = 501, kSelect = 601;
// cudnnReduceTensorOp_t, cudnnBackendHeurMode_t
constexpr int kSum = 0, kMaximum = 3;
constexpr int kModeFallback = 2, kModeA = 3;

struct Library {
  std::string file;
  std::size_t version;  // 10000 * major + 100 * minor + patch
  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  Status (*set_stream)(Handle, void* stream);
  void (*last_error)(char* message, std::size_t bytes);
  Status (*create_descriptor)(int kind, Descriptor*);
  Status (*destroy_descriptor)(Descriptor);
  Status (*finalize)(Descriptor);
  Status (*set_attribute)(Descriptor, int attribute, int element, std::int64_t count, const void* values);
  Status (*get_attribute)(Descriptor, int attribute, int element, std::int64_t wanted, std::int64_t* count, void* values);
  Status (*execute)(Handle, Descriptor plan, Descriptor variant_pack);
};

// The library, opened once a process and never closed; null where there is none (of version 9.6 or newer), with what was tried in `failure`.
const Library* open(std::string* failure);

}  // namespace xgen::cuda::cudnn
