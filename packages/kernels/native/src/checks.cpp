#include <string>

#include "xgen/error.h"
#include "xgen/operations.h"

namespace xgen {

void check_indices(const char* name, const std::int32_t* indices, std::size_t count, std::int64_t limit) {
  for (std::size_t i = 0; i < count; i++) {
    if (indices[i] < 0 || indices[i] >= limit) {
      throw Error("INDEX_OUT_OF_RANGE", std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(indices[i]) +
                                            ", outside 0 … " + std::to_string(limit - 1) + ".");
    }
  }
}

void check_cumulative(const char* name, const std::int32_t* lengths, std::size_t count, std::size_t total) {
  const std::string title(name);
  if (count == 0) throw Error("INVALID_LENGTHS", title + " is empty; it needs at least a 0.");
  if (lengths[0] != 0) throw Error("INVALID_LENGTHS", title + "[0] is " + std::to_string(lengths[0]) + ", not 0.");
  for (std::size_t i = 1; i < count; i++) {
    if (lengths[i] < lengths[i - 1]) {
      throw Error("INVALID_LENGTHS", title + "[" + std::to_string(i) + "] is " + std::to_string(lengths[i]) +
                                         ", less than the entry before it (" + std::to_string(lengths[i - 1]) + ").");
    }
  }
  if (static_cast<std::size_t>(lengths[count - 1]) != total) {
    throw Error("INVALID_LENGTHS", title + " ends with " + std::to_string(lengths[count - 1]) + ", but there are " +
                                       std::to_string(total) + " rows.");
  }
}

}  // namespace xgen
