// Errors of the core: a stable code and a message. The binding turns them into JavaScript errors.
#pragma once

#include <stdexcept>
#include <string>

namespace xgen {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const noexcept { return code_; }

 private:
  std::string code_;
};

}  // namespace xgen
