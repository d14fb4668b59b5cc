// Pinned host memory for copies, kept and used again once the device is done with it.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "xgen/cuda/runtime.h"

namespace xgen::cuda::binding {

struct StagingBlock {
  void* data = nullptr;
  std::size_t bytes = 0;
};

class Staging {
 public:
  Staging() = default;
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  StagingBlock take(std::size_t bytes);
  void give_back(StagingBlock block);
  // Given back by itself when `stream` has reached this point.
  void give_back_after(StagingBlock block, Stream stream);

 private:
  struct Pending {
    StagingBlock block;
    Event event;
  };
  void collect();
  Event event();

  std::multimap<std::size_t, void*> free_;
  std::vector<Pending> pending_;
  std::vector<Event> events_;
  std::size_t free_bytes_ = 0;
};

}  // namespace xgen::cuda::binding
