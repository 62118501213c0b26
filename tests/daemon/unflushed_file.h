// A FUSE file whose server, a thread here, answers everything but FLUSH: each close of it waits.
#pragma once

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <string>
#include <thread>

#include "base/bytes.h"
#include "platform/unique_fd.h"

namespace ph {

class unflushed_file {
 public:
  /// Mounts at `folder`, for this object's thread alone. fd() is -1 where that is not allowed.
  explicit unflushed_file(const std::string& folder) {
    std::promise<int> opened;
    std::future<int> result = opened.get_future();
    opener_ = std::thread([this, folder, &opened] { opened.set_value(mount_and_open(folder)); });
    fd_.reset(result.get());
    opener_.join();
  }
  /// Every close that waits ends.
  ~unflushed_file() {
    stop_.reset();
    if (server_.joinable()) server_.join();
    device_.reset();  // its last close ends the file system
    fd_.reset();
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  int mount_and_open(const std::string& folder) {
    device_.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!device_ || ::unshare(CLONE_NEWNS) != 0) return -1;
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    const std::string options =
        "fd=" + std::to_string(device_.get()) + ",rootmode=40000,user_id=0,group_id=0";
    if (::mount("test", folder.c_str(), "fuse", 0, options.c_str()) != 0) return -1;
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return -1;
    stop_.reset(ends[1]);
    server_ =
        std::thread([device = device_.get(), stop = ends[0]] { serve(device, unique_fd(stop)); });
    return ::open((folder + "/file").c_str(), O_RDONLY | O_CLOEXEC);
  }

  static void serve(int device, const unique_fd& stop) {
    std::array<u8, 65536 * 2> request;
    for (;;) {
      std::array<pollfd, 2> wanted{pollfd{device, POLLIN, 0}, pollfd{stop.get(), POLLIN, 0}};
      ::poll(wanted.data(), wanted.size(), -1);
      if (wanted[1].revents != 0) return;
      const ssize_t got = ::read(device, request.data(), request.size());
      if (got < 0 && (errno == EINTR || errno == ENOENT)) continue;
      if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) return;
      fuse_in_header in;
      std::memcpy(&in, request.data(), sizeof in);
      answer(device, in);
    }
  }

  static void answer(int device, const fuse_in_header& in) {
    switch (in.opcode) {
      case FUSE_INIT: {
        fuse_init_out out{};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = FUSE_KERNEL_MINOR_VERSION;
        out.max_write = 65536;
        return reply(device, in, bytes_of(out));
      }
      case FUSE_LOOKUP: {
        fuse_entry_out out{};
        out.nodeid = 2;
        out.attr.ino = 2;
        out.attr.mode = S_IFREG | 0666;
        out.attr.nlink = 1;
        return reply(device, in, bytes_of(out));
      }
      case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr.ino = in.nodeid;
        out.attr.mode = in.nodeid == FUSE_ROOT_ID ? S_IFDIR | 0777 : S_IFREG | 0666;
        out.attr.nlink = 1;
        return reply(device, in, bytes_of(out));
      }
      case FUSE_OPEN: {
        const fuse_open_out out{};
        return reply(device, in, bytes_of(out));
      }
      case FUSE_FLUSH:
      case FUSE_FORGET:
      case FUSE_INTERRUPT: return;
      default: return reply(device, in, {}, -ENOSYS);
    }
  }

  static void reply(int device, const fuse_in_header& in, byte_view body, int error = 0) {
    fuse_out_header head{};
    head.len = static_cast<u32>(sizeof head + body.size());
    head.error = error;
    head.unique = in.unique;
    std::array<iovec, 2> parts{iovec{&head, sizeof head},
                               iovec{const_cast<u8*>(body.data()), body.size()}};
    static_cast<void>(!::writev(device, parts.data(), parts.size()));
  }

  unique_fd device_, fd_, stop_;
  std::thread opener_, server_;
};

}  // namespace ph
