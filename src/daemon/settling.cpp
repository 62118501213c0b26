// The pages, and what of them has been carried how far.
#include "daemon/settling.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <new>

#include "platform/memory_file.h"

namespace ph::dropin {

std::unique_ptr<settling> settling::create() {
  unique_fd file = memory_file("ph-settling");
  if (!file || ::ftruncate(file.get(), settling_page_len) != 0) return nullptr;
  // It stays as long as it is: whoever maps it never finds a part missing.
  ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  void* const at =
      ::mmap(nullptr, settling_page_len, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return nullptr;
  return std::make_unique<settling>(std::move(file), *::new (at) settling_page);
}

settling::~settling() { ::munmap(&page_, settling_page_len); }

unique_fd settling::file() const { return unique_fd(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0)); }

void settling::settle(u32 sent) { page_.settled.store(sent, std::memory_order_release); }

void settling_turns::note(settling& host) {
  if (host.noted_) return;
  noted_.push_back({&host, host.sent()});
  host.noted_ = true;
}

void settling_turns::begin_batch() {
  if (!awaited_.empty()) return;
  ++begun_;
  awaited_.swap(noted_);
  for (const entry& e : awaited_) e.host->noted_ = false;
}

void settling_turns::end_batch(bool all) {
  if (!all) return;
  with_stack_.insert(with_stack_.end(), awaited_.begin(), awaited_.end());
  awaited_.clear();
  over_ = begun_;
}

void settling_turns::arrived() {
  for (const entry& e : std::exchange(with_stack_, {})) e.host->settle(e.sent);
}

}  // namespace ph::dropin
