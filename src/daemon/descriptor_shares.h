// Who may have how many of the daemon's descriptors: a table that the programs of one host fill is
// one that all other hosts find full.
//
// Half of them is divided evenly among the hosts, the other half is for whoever comes first. A
// process may have at most half of all, and other users than the daemon's a quarter each and half
// together. What is counted is what lasts: sockets and channels.
#pragma once

#include <map>

#include "base/result.h"
#include "daemon/channel_gate.h"

namespace ph::dropin {

class host_sockets;
class descriptor_shares;

/// For whom descriptors are held.
struct share_holder {
  const host_sockets* host = nullptr;
  channel_peer who;
};

/// Some descriptors of a share; they are given back with it.
class descriptor_share {
 public:
  descriptor_share() = default;
  descriptor_share(descriptor_share&& other) noexcept { *this = std::move(other); }
  descriptor_share& operator=(descriptor_share&& other) noexcept;
  ~descriptor_share() { give_back(); }
  /// As many as `n` more for the same holder. Errors: nfile.
  [[nodiscard]] result<descriptor_share> another(std::size_t n) const;

 private:
  friend class descriptor_shares;
  descriptor_share(descriptor_shares& from, const share_holder& holder, std::size_t n)
      : from_(&from), holder_(holder), n_(n) {}
  void give_back();

  descriptor_shares* from_ = nullptr;
  share_holder holder_;
  std::size_t n_ = 0;
};

class descriptor_shares {
 public:
  /// `all`: what there is to share among so many hosts. `owner`: the daemon's user.
  descriptor_shares(std::size_t all, std::size_t hosts, uid_t owner);
  descriptor_shares(const descriptor_shares&) = delete;
  descriptor_shares& operator=(const descriptor_shares&) = delete;

  /// Errors: nfile, when the holder's host, process or user has its share.
  result<descriptor_share> take(const share_holder& who, std::size_t n);

 private:
  friend class descriptor_share;
  void give_back(const share_holder& who, std::size_t n);
  /// What a host that holds so many has of the half that is for all.
  [[nodiscard]] std::size_t common_part(std::size_t held) const;

  std::size_t all_;
  std::size_t per_host_;
  std::size_t common_;  ///< the half that is for all
  std::size_t common_used_ = 0;
  std::size_t strangers_used_ = 0;
  uid_t owner_;
  std::map<const host_sockets*, std::size_t> hosts_;
  std::map<pid_t, std::size_t> processes_;
  std::map<uid_t, std::size_t> strangers_;  ///< other users than the owner and root
};

}  // namespace ph::dropin
