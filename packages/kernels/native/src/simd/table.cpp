// This variant's table: the one name that leaves its namespace.
#include "attention.h"
#include "matrix.h"
#include "ranges.h"
#include "rows.h"

namespace xgen::XGEN_VARIANT {

#define XGEN_STRING_OF(x) #x
#define XGEN_STRING(x) XGEN_STRING_OF(x)

extern const KernelTable table;
const KernelTable table = {
    XGEN_STRING(XGEN_VARIANT),
    kRowTile,
    kColumnTile,
    k_block,
    packed_bytes,
    pack_right,
    multiply_block,
    rms_norm,
    rms_norm_grad,
    rope,
    swiglu,
    swiglu_grad,
    attention,
    attention_merge,
    attention_grad,
    attention_grad_queries,
    row_dots,
    log_sum_exp_block,
    cross_entropy_grad_block,
    adam_w,
    sum_of_squares,
    add_to,
    binary,
    binary_scalar,
    unary,
    row_sum,
    exact_sum,
    softmax,
    maximum,
    exp_shifted,
};

}  // namespace xgen::XGEN_VARIANT
