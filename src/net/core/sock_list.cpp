// Places in a list of sockets: a walk moves its own place past each socket that it has met.
#include "net/core/sock_list.h"

#include "net/core/sock.h"

namespace ph {

sock_list::sock_list(net_namespace& net, std::string_view name) : name_(name) {
  net.sock_lists().push_back(*this);
}

sock_list::~sock_list() {
  while (!places_.empty()) {
    places_.front().list_ = nullptr;
    places_.pop_front();
  }
}

void sock_list::add(sock_place& sk) {
  ph_check(sk.list_ == nullptr);
  sk.list_ = this;
  places_.push_back(sk);
  ++size_;
}

void sock_list::remove(sock_place& sk) {
  if (sk.list_ == nullptr) return;
  --sk.list_->size_;
  sk.list_ = nullptr;
  sk.unlink();
}

sock* sock_cursor::next() {
  while (is_linked()) {
    auto after = std::next(of_.places_.iterator_to(*this));
    if (after == of_.places_.end()) return nullptr;
    sock_place& met = *after;
    of_.places_.splice(++after, of_.places_, of_.places_.iterator_to(*this));
    if (met.list_ != nullptr) return static_cast<sock*>(&met);
  }
  return nullptr;
}

}  // namespace ph
