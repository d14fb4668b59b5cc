// The functions each file of this folder gives to JavaScript. Every list ends with an empty entry.
#pragma once

#include "call.h"

namespace xgen::binding {

extern const Registration kRuntimeFunctions[];
extern const Registration kRowFunctions[];
extern const Registration kMatrixFunctions[];
extern const Registration kAttentionFunctions[];
extern const Registration kTrainingFunctions[];
extern const Registration kElementwiseFunctions[];

}  // namespace xgen::binding
