// The name in procfs of a descriptor of this process, written by hand: snprintf(3) takes more than
// a kilobyte of stack, and is not for signal handlers.
#pragma once

#include <cstddef>
#include <cstring>

namespace ph {

class fd_path {
 public:
  /// `folder`: below which the number is a name, with its slash; at most 24 characters. A negative
  /// number gives the name of nothing.
  explicit fd_path(int fd, const char* folder = "/proc/self/fd/") {
    std::size_t at = std::strlen(folder);
    std::memcpy(text_, folder, at);
    char digits[12];
    std::size_t n = 0;
    if (fd < 0) text_[at++] = '-';
    const auto number = static_cast<unsigned>(fd);
    for (unsigned rest = fd < 0 ? -number : number; n == 0 || rest != 0; rest /= 10) {
      digits[n++] = static_cast<char>('0' + rest % 10);
    }
    while (n > 0) text_[at++] = digits[--n];
    text_[at] = 0;
  }
  [[nodiscard]] const char* c_str() const { return text_; }

 private:
  char text_[40];
};

}  // namespace ph
