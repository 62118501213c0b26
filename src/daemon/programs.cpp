// Joins drop-in and the lab: a host's sockets are made when its first program comes.
#include "daemon/programs.h"

#include <fmt/format.h>

namespace ph {

tl::expected<std::unique_ptr<programs>, std::string> programs::serve(running_lab& lab,
                                                                     closer& closes) {
  auto out = std::make_unique<programs>(lab);
  dropin::drop_in_options options;
  options.closes = &closes;
  options.hosts = lab.world().hosts().size();
  options.give_back = [&lab] { static_cast<void>(lab.world().memory().trim()); };
  auto made = dropin::drop_in::create(
      options, [p = out.get()](std::string_view host) { return p->sockets_of(host); });
  if (!made && made.error() == errc::nospc) {
    return tl::unexpected(std::string(
        "cannot see when programs close their sockets: this user has all inotify instances "
        "already that fs.inotify.max_user_instances allows"));
  }
  if (!made) {
    return tl::unexpected(fmt::format("cannot listen for programs: {}", errc_name(made.error())));
  }
  out->drop_in_ = std::move(*made);
  out->last_words_ = std::make_unique<dropin::last_words>(out->drop_in_->anchor_folder_path());
  return out;
}

dropin::host_sockets* programs::sockets_of(std::string_view host) {
  sim::host* const where = lab_.find_host(host);
  if (where == nullptr) return nullptr;
  auto& sockets = hosts_[where];
  if (!sockets) sockets = std::make_unique<dropin::stack_sockets>(lab_, *where);
  return sockets.get();
}

}  // namespace ph
