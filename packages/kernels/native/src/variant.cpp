// Which variant runs: asked of the processor once.
#include <atomic>
#include <cstring>
#include <string>

#include "xgen/error.h"
#include "xgen/kernel_table.h"

namespace xgen {

namespace portable {
extern const KernelTable table;
}
#if defined(XGEN_X86_VARIANTS)
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {
extern const KernelTable table;
}
#if defined(XGEN_AVX512_BF16)
namespace avx512bf16 {
extern const KernelTable table;
}
#endif
#endif

namespace {

struct Variant {
  const KernelTable* table;
  bool (*supported)();
};

#if defined(XGEN_X86_VARIANTS)
// These builtins also ask the operating system whether it saves the wide registers.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#if defined(XGEN_AVX512_BF16)
bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif
#endif
bool always() { return true; }

const Variant kVariants[] = {
#if defined(XGEN_X86_VARIANTS)
#if defined(XGEN_AVX512_BF16)
    {&avx512bf16::table, has_avx512_bf16},
#endif
    {&avx512::table, has_avx512},
    {&avx2::table, has_avx2},
#endif
    {&portable::table, always},
};

const KernelTable* best() {
  for (const Variant& variant : kVariants) {
    if (variant.supported()) return variant.table;
  }
  return &portable::table;
}

std::atomic<const KernelTable*>& current() {
  static std::atomic<const KernelTable*> table{best()};
  return table;
}

}  // namespace

const KernelTable& kernels() { return *current().load(std::memory_order_relaxed); }

std::size_t variant_count() { return sizeof(kVariants) / sizeof(kVariants[0]); }

VariantDescription variant_at(std::size_t index) {
  return {kVariants[index].table->name, kVariants[index].supported()};
}

void select_variant(const char* name) {
  if (*name == '\0') {
    current().store(best());
    return;
  }
  for (const Variant& variant : kVariants) {
    if (std::strcmp(variant.table->name, name) != 0) continue;
    if (!variant.supported()) {
      throw Error("VARIANT_UNSUPPORTED", std::string("This processor cannot run the variant '") + name + "'.");
    }
    current().store(variant.table);
    return;
  }
  throw Error("VARIANT_UNKNOWN", std::string("This build has no variant '") + name + "'.");
}

}  // namespace xgen
