// A thread that nobody joins, for what may wait for ever.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <memory>
#include <new>
#include <utility>

namespace ph {

/// Starts body(), without any signal of the process: those are for the daemon's own thread. False
/// when no thread can be had. Its stack is small, as there may be many of them.
template <class Body>
bool start_detached(Body body) {
  constexpr std::size_t stack_bytes = std::size_t{256} * 1024;
  std::unique_ptr<Body> run;
  try {
    run = std::make_unique<Body>(std::move(body));
  } catch (const std::bad_alloc&) {
    return false;
  }
  pthread_attr_t how;
  if (::pthread_attr_init(&how) != 0) return false;
  ::pthread_attr_setdetachstate(&how, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&how, stack_bytes);
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  constexpr auto start = [](void* given) -> void* {
    const std::unique_ptr<Body> own(static_cast<Body*>(given));
    (*own)();
    return nullptr;
  };
  pthread_t thread;
  const bool started = ::pthread_create(&thread, &how, start, run.get()) == 0;
  if (started) static_cast<void>(run.release());  // the thread's own now
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&how);
  return started;
}

}  // namespace ph
