// All sockets of one protocol in a namespace, in the order in which they were made, and a walk over
// them that may rest (what ss(8) shows, what a status counts).
#pragma once

#include <string_view>

#include "base/intrusive.h"

namespace ph {

class net_namespace;
class sock;
class sock_list;

/// A place in a list: a socket's, or where a walk rests.
class sock_place : public list_hook<struct sock_place_tag> {
 protected:
  sock_place() = default;
  sock_place(const sock_place&) = delete;
  sock_place& operator=(const sock_place&) = delete;
  ~sock_place() = default;

 private:
  friend class sock_list;
  friend class sock_cursor;
  sock_list* list_ = nullptr;  ///< of a socket that is in one
};

/// A namespace knows its lists by name (net_namespace::sock_lists); a protocol owns its own.
class sock_list : public list_hook<struct sock_lists_tag> {
 public:
  /// `name` as /proc/net has it ("tcp"); it outlives the list.
  sock_list(net_namespace& net, std::string_view name);
  sock_list(const sock_list&) = delete;
  sock_list& operator=(const sock_list&) = delete;
  ~sock_list();
  [[nodiscard]] std::string_view name() const { return name_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// A socket is in one list, until it ends.
  void add(sock_place& sk);
  static void remove(sock_place& sk);

 private:
  friend class sock_cursor;
  std::string_view name_;
  std::size_t size_ = 0;
  intrusive_list<sock_place, sock_place_tag> places_;
};

/// A walk. It meets each socket that is there from its begin to its end exactly once, whichever
/// come and go meanwhile; a step costs the same at any number of them.
class sock_cursor : private sock_place {
 public:
  explicit sock_cursor(sock_list& list) : of_(list) { of_.places_.push_front(*this); }
  /// The next one; nullptr: that was all, or the list has ended.
  sock* next();

 private:
  sock_list& of_;
};

}  // namespace ph
