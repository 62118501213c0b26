// Counting, for each of those who may have too many.
#include "daemon/descriptor_shares.h"

#include <algorithm>
#include <utility>

namespace ph::dropin {
namespace {

template <class Key>
std::size_t held_by(const std::map<Key, std::size_t>& all, Key who) {
  const auto at = all.find(who);
  return at == all.end() ? 0 : at->second;
}

/// Nothing is kept of who holds nothing.
template <class Key>
void take_from(std::map<Key, std::size_t>& all, Key who, std::size_t n) {
  const auto at = all.find(who);
  if (at != all.end() && (at->second -= n) == 0) all.erase(at);
}

}  // namespace

descriptor_share& descriptor_share::operator=(descriptor_share&& other) noexcept {
  if (this == &other) return *this;
  give_back();
  from_ = std::exchange(other.from_, nullptr);
  holder_ = other.holder_;
  n_ = std::exchange(other.n_, 0);
  return *this;
}

result<descriptor_share> descriptor_share::another(std::size_t n) const {
  if (from_ == nullptr) return fail(errc::nfile);
  return from_->take(holder_, n);
}

void descriptor_share::give_back() {
  if (from_ != nullptr) std::exchange(from_, nullptr)->give_back(holder_, n_);
}

descriptor_shares::descriptor_shares(std::size_t all, std::size_t hosts, uid_t owner)
    : all_(all),
      per_host_(all / 2 / std::max<std::size_t>(hosts, 1)),
      common_(all - per_host_ * std::max<std::size_t>(hosts, 1)),
      owner_(owner) {}

std::size_t descriptor_shares::common_part(std::size_t held) const {
  return held > per_host_ ? held - per_host_ : 0;
}

result<descriptor_share> descriptor_shares::take(const share_holder& who, std::size_t n) {
  const bool stranger = who.who.user != owner_ && who.who.user != 0;
  const std::size_t held = held_by(hosts_, who.host);
  const std::size_t more = common_part(held + n) - common_part(held);
  if (common_used_ + more > common_) return fail(errc::nfile);
  // Process 0 is whoever lives in a PID namespace that is not below ours.
  const pid_t process = who.who.process;
  if (process != 0 && held_by(processes_, process) + n > all_ / 2) return fail(errc::nfile);
  if (stranger &&
      (held_by(strangers_, who.who.user) + n > all_ / 4 || strangers_used_ + n > all_ / 2)) {
    return fail(errc::nfile);
  }
  common_used_ += more;
  hosts_[who.host] += n;
  processes_[process] += n;
  if (stranger) strangers_[who.who.user] += n;
  if (stranger) strangers_used_ += n;
  return descriptor_share(*this, who, n);
}

void descriptor_shares::give_back(const share_holder& who, std::size_t n) {
  const std::size_t held = held_by(hosts_, who.host);
  common_used_ -= common_part(held) - common_part(held - n);
  take_from(hosts_, who.host, n);
  take_from(processes_, who.who.process, n);
  if (who.who.user == owner_ || who.who.user == 0) return;
  take_from(strangers_, who.who.user, n);
  strangers_used_ -= n;
}

}  // namespace ph::dropin
