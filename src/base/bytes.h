// Views over bytes, and readers and writers that check their length once.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/byteorder.h"
#include "base/check.h"

namespace ph {

using byte_view = std::span<const u8>;
using byte_span = std::span<u8>;

/// A struct that may be laid over bytes: trivially copyable, no alignment, no padding surprises.
template <class T>
concept overlay = std::is_trivially_copyable_v<T> && alignof(T) == 1;

/// The bytes of `bytes` at `offset` seen as T, or nullptr when they are too few.
template <overlay T>
const T* view_as(byte_view bytes, std::size_t offset = 0) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return nullptr;
  return reinterpret_cast<const T*>(bytes.data() + offset);
}
template <overlay T>
T* view_as(byte_span bytes, std::size_t offset = 0) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return nullptr;
  return reinterpret_cast<T*>(bytes.data() + offset);
}
/// The bytes of an object. A string literal is text (below): its final zero does not count.
template <class T>
  requires(std::is_trivially_copyable_v<T> &&
           !std::is_same_v<std::remove_cv_t<std::remove_extent_t<T>>, char> &&
           !std::is_pointer_v<T>)
byte_view bytes_of(const T& object) {
  return {reinterpret_cast<const u8*>(&object), sizeof(T)};
}
inline byte_view bytes_of(std::string_view text) {
  return {reinterpret_cast<const u8*>(text.data()), text.size()};
}
inline std::string_view text_of(byte_view bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
/// Copies as many bytes as fit; returns how many.
inline std::size_t copy_bytes(byte_span to, byte_view from) {
  const std::size_t n = std::min(to.size(), from.size());
  if (n != 0) std::memcpy(to.data(), from.data(), n);
  return n;
}

/// Reads values off the front of a view; once a read fails, all later ones do.
class byte_reader {
 public:
  explicit byte_reader(byte_view bytes) : rest_(bytes) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t remaining() const { return rest_.size(); }
  [[nodiscard]] byte_view rest() const { return rest_; }
  /// The next sizeof(T) bytes as a copy of T; a zero T once the bytes run out (see ok()).
  template <class T>
    requires std::is_trivially_copyable_v<T>
  T take() {
    T out{};
    const byte_view from = take_bytes(sizeof(T));
    if (ok_) std::memcpy(&out, from.data(), sizeof(T));
    return out;
  }
  byte_view take_bytes(std::size_t n) {
    if (n > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const byte_view out = rest_.first(n);
    rest_ = rest_.subspan(n);
    return out;
  }

 private:
  byte_view rest_;
  bool ok_ = true;
};

/// Writes values one after the other into a span; what does not fit is not written, and once a
/// write fails, all later ones do.
class byte_writer {
 public:
  explicit byte_writer(byte_span bytes) : all_(bytes) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t written() const { return at_; }
  [[nodiscard]] byte_span done() const { return all_.first(at_); }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void put(const T& value) { put_bytes(bytes_of(value)); }
  void put_bytes(byte_view bytes) {
    if (!ok_ || bytes.size() > all_.size() - at_) {
      ok_ = false;
      return;
    }
    at_ += copy_bytes(all_.subspan(at_), bytes);
  }

 private:
  byte_span all_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace ph
