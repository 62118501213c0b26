// Reads small files of /proc without waiting for ever. What /proc/PID/environ shows lies in that
// process's memory, which may be a mapped file of a dead FUSE or NFS server: whoever reads it waits
// for the page.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace ph {

class patient_reader {
 public:
  patient_reader() = default;
  patient_reader(const patient_reader&) = delete;
  patient_reader& operator=(const patient_reader&) = delete;
  ~patient_reader();
  /// Its content, cut to 4 MiB; empty when it cannot be read, or not within a moment, or when
  /// only_if(), which the same thread asks first, says no: that may hang as well, and must own what
  /// it needs. What hangs goes on in a thread that is left behind; when there are too many such,
  /// nothing is read.
  std::string read(const std::string& path, std::function<bool()> only_if = {});

 private:
  struct work;
  bool start();
  void let_go();
  std::shared_ptr<work> work_;
  int left_behind_ = 0;
};

}  // namespace ph
