// Serving control channels: accepting them, reading requests, passing descriptors, and calling the
// clients when their ends, their sockets or their anchors have something new.
#include "daemon/drop_in.h"

#include <linux/sockios.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "daemon/datagram_client.h"
#include "daemon/drop_in_state.h"
#include "daemon/stream_client.h"
#include "platform/memory_limit.h"
#include "platform/passed_fd.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr u64 tag_shift = 56;
constexpr int accepts_a_turn = 64;
constexpr int channel_backlog = 256;
constexpr s64 alarm_ms = 50;
/// After a peak the allocator keeps what it had. It is given back when no client has ended for so
/// long, or so many times as long after the first; and again when TIME-WAIT is over, which lasts a
/// minute: what it needs lies between what the connections needed.
constexpr s64 trim_quiet_ms = 500;
constexpr int most_trim_delays = 8;
constexpr s64 trim_late_ms = 65'000;
constexpr int most_turns_held = 16;
constexpr u64 trim_soon = 0, trim_late = ~u64{0};  // no clients' ids

/// Lets a timerfd of CLOCK_MONOTONIC fire once, at a time in milliseconds.
void set_timer(int fd, s64 due_ms) {
  itimerspec at{};
  at.it_value.tv_sec = due_ms / 1000;
  at.it_value.tv_nsec = due_ms % 1000 * 1'000'000;
  ::timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, nullptr);
}

std::string hex(u64 value) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += digits[(value >> shift) & 15];
  return out;
}

/// Whoever sends or begins to connect goes on when the stack has had its turn: on the own machine
/// the other side knows of it then.
bool waits_a_turn(const request_head& head, int result) {
  switch (static_cast<request_kind>(head.kind)) {
    case request_kind::sendmsg: return result >= 0;
    case request_kind::connect: return result == -static_cast<int>(errc::inprogress);
    case request_kind::settle: return true;
    default: return false;
  }
}

s64 clock_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return s64{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

/// Something that was sent here has not been received yet.
bool has_unread(int fd) {
  int bytes = 0;
  return ::ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

channel_peer peer_of(int fd) {
  ucred who{};
  socklen_t len = sizeof who;
  ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
  return {who.pid, who.uid};
}

/// How many descriptors sockets may have in all: as the process may have, and as fit in a quarter
/// of its memory with what the kernel and the stack have for each.
std::size_t room_for_sockets(const anchor_folder& anchors) {
  constexpr u64 each = 4096;
  const std::size_t room = anchors.socket_room();
  const auto memory = process_memory();
  return memory ? static_cast<std::size_t>(std::min<u64>(room, *memory / 4 / each)) : room;
}

}  // namespace

drop_in_state::drop_in_state(u64 instance, std::string token, anchor_folder anchors,
                             find_host hosts, const drop_in_options& options)
    : instance_(instance),
      hello_patience_ms_(options.hello_patience_ms),
      token_(std::move(token)),
      anchors_(std::move(anchors)),
      hosts_(std::move(hosts)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      alarm_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      files_(::epoll_create1(EPOLL_CLOEXEC)),
      give_back_(options.give_back),
      closer_(options.closes != nullptr ? *options.closes : own_closer_),
      gate_(::geteuid()),
      shares_(room_for_sockets(anchors_), options.hosts, ::geteuid()),
      datagrams_(options.hosts),
      buffer_(max_message) {
  poll(EPOLL_CTL_ADD, closes_.fd(), EPOLLIN, source::closes, 0);
  poll(EPOLL_CTL_ADD, timer_.get(), EPOLLIN | EPOLLET, source::timer, 0);
  poll(EPOLL_CTL_ADD, alarm_.get(), EPOLLIN | EPOLLET, source::alarm, 0);
}

drop_in_state::~drop_in_state() {
  for (int round = 0; round < last_word_rounds && !clients_.empty(); ++round) {
    if (round > 0) ::usleep(last_word_pause_us);
    for (const auto& [id, c] : clients_) c->say_goodbye();
  }
  // A connection that was not accepted tells its listener of its end: both may look around here.
  while (!clients_.empty()) clients_.extract(clients_.begin());
}

u64 drop_in_state::new_id() {
  for (;;) {
    const u64 id = random_u64() >> (64 - tag_shift);
    if (id != 0 && !clients_.contains(id) && !known_.contains(id) && !channels_.contains(id)) {
      return id;
    }
  }
}

result<void> drop_in_state::listen_at(const std::string& address) {
  address_ = address.empty() ? "@posthaste-" + hex(instance_) : address;
  sockaddr_un sun{};
  sun.sun_family = AF_UNIX;
  if (address_.size() >= sizeof sun.sun_path) return fail(errc::nametoolong);
  std::memcpy(sun.sun_path, address_.data(), address_.size());
  socklen_t len = sizeof sun;
  if (address_.front() == '@') {
    sun.sun_path[0] = 0;
    len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  }
  listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_ || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&sun), len) != 0 ||
      ::listen(listener_.get(), channel_backlog) != 0) {
    return fail(static_cast<errc>(errno));
  }
  silent_refuse_ = take_descriptors(listener_.get(), false);
  poll(EPOLL_CTL_ADD, listener_.get(), EPOLLIN, source::listener, 0);
  return {};
}

// --- events -----------------------------------------------------------------------------------

void drop_in_state::poll(int operation, int fd, u32 events, source what, u64 id) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = (static_cast<u64>(what) << tag_shift) | id;
  if (::epoll_ctl(epoll_.get(), operation, fd, &e) != 0 && operation == EPOLL_CTL_MOD) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e);
  }
}

void drop_in_state::poll_end(int fd, u64 id) {
  poll(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, source::end, id);
}

void drop_in_state::poll_for(int fd, u64 id, u32 events) {
  poll(EPOLL_CTL_MOD, fd, events | EPOLLET, source::end, id);
}

/// Calls a client, which ends when it finds no memory: its program's socket is reset.
template <class F>
void drop_in_state::give_turn(client& c, F&& f) {
  try {
    f();
  } catch (const std::bad_alloc&) {
    end_without_memory(c);
  }
}

/// Whoever waits for the daemon's answer or at the anchor is told.
void drop_in_state::end_without_memory(client& c) {
  remove(c);
  for (auto& [id, ch] : channels_) {
    if (ch.waiting_client != c.id()) continue;
    ch.waiting_client = 0;
    (void)reply(ch, ch.waiting_call, refusal(errc::nobufs));
  }
  try {
    c.abandon();
    c.say_goodbye();
  } catch (const std::bad_alloc&) {
    return;  // not even that can be had: the anchor hangs up, as far as its kind can
  }
}

void drop_in_state::on_event(u32 events, u64 tag) {
  const u64 id = tag & ((u64{1} << tag_shift) - 1);
  switch (static_cast<source>(tag >> tag_shift)) {
    case source::listener: return accept_channels();
    case source::channel: return serve_channel_or_end_it(id);
    case source::closes: return serve_closes();
    case source::end:
      if (client* c = find(id)) {
        if (settling* const home = c->sends_home()) settling_turns_.note(*home);
        give_turn(*c, [&] { c->on_end(events); });
      }
      return;
    case source::timer: return run_later();
    case source::alarm: return on_alarm();
  }
}

/// Nothing new as long as there is some of the last batch.
void drop_in_state::fetch_events() {
  if (next_event_ < event_count_) return;
  next_event_ = event_count_ = 0;
  const int n = ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), 0);
  event_count_ = static_cast<std::size_t>(std::max(n, 0));
}

/// One that finds no memory stands first when this is called again.
void drop_in_state::serve_events() {
  // What was closed is known before its end's hang-up is looked at.
  const auto hangs_up = [](const epoll_event& e) { return (e.events & EPOLLHUP) != 0; };
  const auto first = events_.begin() + static_cast<std::ptrdiff_t>(next_event_);
  const auto end = events_.begin() + static_cast<std::ptrdiff_t>(event_count_);
  if (std::any_of(first, end, hangs_up)) serve_closes();
  for (; next_event_ < event_count_; ++next_event_) {
    on_event(events_[next_event_].events, events_[next_event_].data.u64);
  }
}

/// Of the answers that wait for a turn of the world, those that have had it. Who asked whether what
/// was sent has arrived waits until that was taken from the programs' ends, too; but not for ever
/// where these bring more than a turn can take.
void drop_in_state::take_due() {
  const auto waits = [this](held_answer& a) {
    return a.batch > settling_turns_.over() && ++a.turns < most_turns_held;
  };
  const auto due = std::partition(held_.begin(), held_.end(), waits);
  due_.insert(due_.end(), std::make_move_iterator(due), std::make_move_iterator(held_.end()));
  held_.erase(due, held_.end());
}

bool drop_in_state::process() {
  // What finds no memory leaves this in the middle; what is due is where the next call sees it.
  if (due_.empty()) take_due();
  for (const u64 id : std::exchange(next_turn_, {})) {
    if (client* c = find(id)) mark(*c);
  }
  for (int round = 0; round < 8; ++round) {
    run_marked();
    if (round == 0) settling_turns_.arrived();
    bury();
    answers_.insert(answers_.end(), std::make_move_iterator(due_.begin()),
                    std::make_move_iterator(due_.end()));
    due_.clear();
    send_answers();
    settling_turns_.begin_batch();
    fetch_events();
    serve_events();
    settling_turns_.end_batch(event_count_ < events_.size());
    bury();
    if (event_count_ == 0 && marked_.empty() && answers_.empty()) {
      return !held_.empty() || !next_turn_.empty() || settling_turns_.pending();
    }
  }
  return true;
}

void drop_in_state::mark(client& c) {
  if (c.marked()) return;
  c.set_marked(true);
  marked_.push_back(c.id());
}

void drop_in_state::mark_later(client& c, unsigned milliseconds) {
  add_later(clock_ms() + milliseconds, c.id());
}

void drop_in_state::add_later(s64 due, u64 id) {
  const bool first = later_.empty() || due < later_.begin()->first;
  later_.emplace(due, id);
  if (first) set_timer(timer_.get(), due);
}

void drop_in_state::run_later() {
  u64 count = 0;
  static_cast<void>(!::read(timer_.get(), &count, sizeof count));
  const auto end = later_.upper_bound(clock_ms());
  std::vector<u64> due;  // what they do may make new ones
  for (auto i = later_.begin(); i != end; ++i) due.push_back(i->second);
  later_.erase(later_.begin(), end);
  for (const u64 id : due) {
    if (id == trim_soon || id == trim_late) give_memory_back(id == trim_late);
    if (client* c = find(id)) mark(*c);
  }
  if (!later_.empty()) set_timer(timer_.get(), later_.begin()->first);
}

void drop_in_state::mark_starving(client& c) {
  starving_.insert(c.id());
  set_alarm();
}

/// Soon on_alarm() looks again at what waits for better times.
void drop_in_state::set_alarm() {
  if (std::exchange(alarm_set_, true)) return;  // what comes meanwhile does not put it off
  itimerspec soon{};
  soon.it_value.tv_nsec = alarm_ms * 1'000'000;
  ::timerfd_settime(alarm_.get(), 0, &soon, nullptr);
}

void drop_in_state::on_alarm() {
  alarm_set_ = false;
  if (paused_ && !anchors_.crowded()) {
    paused_ = false;
    poll(EPOLL_CTL_MOD, listener_.get(), EPOLLIN, source::listener, 0);
  }
  for (const u64 id : std::exchange(starving_, {})) {
    if (client* c = find(id)) mark(*c);
  }
  drop_silent_channels();
  if (paused_ || !silent_.empty()) set_alarm();
}

/// Room for every client in the lists that it may stand in once: its wake-up and its end need no
/// memory.
void drop_in_state::make_room_for_client() {
  const std::size_t needed = clients_.size() + 1;
  for (std::vector<u64>* list : {&marked_, &round_, &dead_}) {
    if (list->capacity() < needed) list->reserve(2 * needed);
  }
}

void drop_in_state::run_marked() {
  round_.clear();
  round_.swap(marked_);
  for (std::size_t i = 0; i < round_.size(); ++i) {  // a turn may make clients, and room here
    if (client* c = find(round_[i])) {
      c->set_marked(false);
      give_turn(*c, [c] { c->pump(); });
    }
  }
}

void drop_in_state::remove(client& c) {
  if (!c.removed()) dead_.push_back(c.id());
  c.set_removed();
}

void drop_in_state::bury() {
  // Whose end is another's end stands behind it.
  for (std::size_t i = 0; i < dead_.size(); ++i) {
    const u64 id = dead_[i];
    clients_.erase(id);
    ++buried_;
    known_.erase(id);
    const auto from = renewed_.lower_bound({id, 0}), to = renewed_.lower_bound({id + 1, 0});
    for (auto renewed = from; renewed != to; ++renewed) known_.erase(renewed->second);
    renewed_.erase(from, to);
  }
  dead_.clear();
  if (buried_ == 0 || trim_waits_) return;
  trim_delays_ = 0;
  add_later(clock_ms() + trim_quiet_ms, trim_soon);
  trim_waits_ = true;
}

void drop_in_state::give_memory_back(bool late) {
  if (late) {
    late_trim_waits_ = false;
  } else if (std::exchange(buried_, 0) != 0 && trim_delays_++ < most_trim_delays) {
    return add_later(clock_ms() + trim_quiet_ms, trim_soon);
  } else {
    trim_waits_ = false;
    if (!late_trim_waits_) add_later(clock_ms() + trim_late_ms, trim_late);
    late_trim_waits_ = true;
  }
  if (give_back_) give_back_();
  ::malloc_trim(0);
}

void drop_in_state::serve_closes() {
  bool overflow = false;
  for (const u64 id : closes_.closed(overflow)) {
    if (client* c = find(id)) give_turn(*c, [c] { c->anchor_closed(); });
    forget_anchor(id);
  }
  if (!overflow) return;
  for (const auto& [id, c] : clients_) {
    client& looking = *c;
    give_turn(looking, [&looking] { looking.look_for_anchor(); });
  }
}

void drop_in_state::abandon(u64 id) {
  if (client* c = find(id)) c->abandon();
}

void drop_in_state::child_settled(u64 listener, bool known) {
  if (client* c = find(listener)) c->child_settled(known);
}

client* drop_in_state::find(u64 id) {
  const auto known = known_.find(id);
  const auto at = clients_.find(known == known_.end() ? id : known->second.client);
  if (at == clients_.end() || at->second->removed()) return nullptr;
  return at->second.get();
}

void drop_in_state::know_anchor(u64 id, u64 cookie, const client& c) {
  known_[id] = {c.id(), cookie};
  if (id != c.id()) renewed_.emplace(c.id(), id);
}

void drop_in_state::forget_anchor(u64 id) {
  const auto known = known_.find(id);
  if (known == known_.end()) return;
  renewed_.erase({known->second.client, id});
  known_.erase(known);
}

void drop_in_state::adopt(host_sockets& host, int s, const anchor_name& end, unique_fd fd,
                          u64 listener, descriptor_share&& share) {
  open_socket accepted(host, s);
  client* c = nullptr;
  try {
    make_room_for_client();
    auto made = std::make_unique<stream_client>(*this, host, s, end.id,
                                                client_kind{end.domain, end.type, end.protocol});
    accepted.release();
    made->set_share(std::move(share));
    stream_client& adopted = *made;
    c = clients_.emplace(end.id, std::move(made)).first->second.get();
    adopted.offered(std::move(fd), listener);
  } catch (const std::bad_alloc&) {  // the program accepts one that is reset
    if (c != nullptr) remove(*c);
    if (c != nullptr) c->abandon();
    child_settled(listener, false);
  }
}

// --- channels ---------------------------------------------------------------------------------

void drop_in_state::accept_channels() {
  bool starved = anchors_.crowded();
  for (int i = 0; i < accepts_a_turn && !starved; ++i) {
    unique_fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return;
    starved = !fd;
    try {
      if (fd) add_channel(std::move(fd));
    } catch (const std::bad_alloc&) {
      starved = true;  // this one is closed, the others wait
    }
  }
  if (!starved) return;
  // Whoever connects waits in the listener's queue, as for a kernel that is busy.
  paused_ = true;
  poll(EPOLL_CTL_MOD, listener_.get(), 0, source::listener, 0);
  set_alarm();
}

void drop_in_state::add_channel(unique_fd fd) {
  const channel_peer who = peer_of(fd.get());
  if (!gate_.enter(who)) return close_channel(std::move(fd), false);
  const u64 id = new_id();
  if (silent_.empty()) set_alarm();
  try {
    silent_.push_back({id, clock_ms() + hello_patience_ms_});
    channel& ch = channels_[id];
    poll(EPOLL_CTL_ADD, fd.get(), EPOLLIN | EPOLLRDHUP, source::channel, id);
    ch.fd = std::move(fd);
    ch.who = who;
    ch.opened = process_clock();
  } catch (const std::bad_alloc&) {
    gate_.leave(who, false);
    throw;
  }
  make_room_for_silent();
}

/// Programs say hello at once: when there are too many channels without one, the oldest goes.
void drop_in_state::make_room_for_silent() {
  while (gate_.silent() > anchors_.channel_room() && !silent_.empty()) {
    const u64 oldest = silent_.front().id;
    silent_.pop_front();
    const auto at = channels_.find(oldest);
    if (at != channels_.end() && at->second.host == nullptr) drop_channel(oldest);
  }
}

/// What the program has put into the channel and nobody has read may hold descriptors.
void drop_in_state::close_channel(unique_fd fd, bool greeted) {
  if (!greeted && silent_refuse_) return;
  closer_.close(std::move(fd));
}

void drop_in_state::drop_silent_channels() {
  const s64 now = clock_ms();
  while (!silent_.empty()) {
    const auto [id, due_ms] = silent_.front();
    const auto at = channels_.find(id);
    const bool waited_for = at != channels_.end() && at->second.host == nullptr;
    if (waited_for && due_ms > now) return;
    silent_.pop_front();
    if (waited_for) drop_channel(id);
  }
}

void drop_in_state::drop_channel(u64 id) {
  const auto at = channels_.find(id);
  if (at == channels_.end()) return;
  const u64 waiting = at->second.waiting_client;
  const bool greeted = at->second.host != nullptr;
  gate_.leave(at->second.who, greeted);
  unique_fd fd = std::move(at->second.fd);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd.get(), nullptr);
  if (at->second.file) forget_file(id, *at->second.file, fd.get());
  close_channel(std::move(fd), greeted);
  channels_.erase(at);
  if (waiting == 0) return;
  if (client* c = find(waiting)) give_turn(*c, [&] { c->give_up(id); });
}

/// What finds no memory where it can tell nobody ends its channel: who waits there learns that.
void drop_in_state::serve_channel_or_end_it(u64 id) {
  try {
    serve_channel(id);
  } catch (const std::bad_alloc&) {
    drop_channel(id);
  }
}

void drop_in_state::serve_channel(u64 id) {
  const auto at = channels_.find(id);
  if (at == channels_.end()) return;
  if (at->second.file) return serve_file(id, at->second);
  serve_files();  // what was written to them before this request came holds for it
  passing_message message;
  const ssize_t got = message.receive(at->second.fd.get(), buffer_);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  request r;
  const bool whole = got > 0 && static_cast<std::size_t>(got) <= buffer_.size() &&
                     (message.header.msg_flags & MSG_CTRUNC) == 0 &&
                     parse_request(buffer_.data(), static_cast<std::size_t>(got), r);
  if (whole && r.head.kind == static_cast<u16>(request_kind::stop_waiting)) {
    (void)take_passed(at->second, message.header);
    return stop_waiting(id, at->second);
  }
  const bool good = whole && at->second.waiting_client == 0;
  if (good && r.head.kind == static_cast<u16>(request_kind::bind)) {
    serve_closes();  // a socket closed before this call no longer has its port
    bury();
  }
  auto about = take_passed(at->second, message.header);
  const bool greets = good && r.head.kind == static_cast<u16>(request_kind::hello);
  if (!good || greets != (at->second.host == nullptr)) return drop_channel(id);
  serve(id, at->second, r, std::move(about));
}

/// The socket that a request is about. Whatever is not proved to be one of ours could block when it
/// is closed, so it is closed elsewhere.
result<passed_socket> drop_in_state::take_passed(const channel& ch, msghdr& message) {
  result<passed_socket> about = fail(errc::ok);  // nothing was passed
  for_each_passed_fd(message, [&](int passed) {
    unique_fd fd(passed);
    const auto c = find_by(fd.get(), ch);
    if (!c) {
      about = fail(c.error());
      return closer_.close(std::move(fd));
    }
    about = passed_socket{*c, std::move(fd)};
  });
  return about;
}

void drop_in_state::serve(u64 id, channel& ch, const request& r, result<passed_socket> about) {
  std::optional<answer_data> answer;
  try {
    answer = dispatch(id, ch, r, std::move(about));
  } catch (const std::bad_alloc&) {
    answer = refusal(errc::nobufs);  // what was begun for it is undone
  }
  if (answer && waits_a_turn(r.head, answer->result)) {
    const bool settles = r.head.kind == static_cast<u16>(request_kind::settle);
    held_.push_back({id, r.head, std::move(*answer), settles ? settling_turns_.next_batch() : 0});
    return;
  }
  if (answer && !reply(ch, r.head, std::move(*answer))) drop_channel(id);
}

void drop_in_state::answer_later(u64 channel, const request_head& head, answer_data&& a) {
  answers_.push_back({channel, head, std::move(a), 0});
}

/// Whoever waits in a send was interrupted. He must learn whether it was done, or he does it twice.
void drop_in_state::stop_waiting(u64 id, channel& ch) {
  const u64 waiting = ch.waiting_client;
  const auto is_its = [id](const held_answer& a) { return a.channel == id; };
  const bool answered = std::any_of(answers_.begin(), answers_.end(), is_its);
  const request_head call = ch.waiting_call;
  const bool sends =
      call.kind == static_cast<u16>(request_kind::sendmsg) && (call.arg[0] & MSG_FASTOPEN) == 0;
  // The answer is on its way; or what waits goes on by itself, as connect() and Fast Open do.
  if (waiting == 0 || answered || !sends) return;
  ch.waiting_client = 0;
  if (client* c = find(waiting)) give_turn(*c, [&] { c->give_up(id); });
  const auto at = channels_.find(id);
  if (at != channels_.end() && !reply(at->second, call, refusal(errc::intr))) drop_channel(id);
}

/// After every client had its turn: who is told that his connection is up finds that the other side
/// sees it, too.
void drop_in_state::send_answers() {
  for (held_answer& late : std::exchange(answers_, {})) {
    const auto at = channels_.find(late.channel);
    if (at == channels_.end()) continue;
    at->second.waiting_client = 0;
    if (!reply(at->second, late.head, std::move(late.answer))) drop_channel(late.channel);
  }
}

/// False when the channel is of no more use.
bool drop_in_state::reply(channel& ch, const request_head& head, answer_data&& a) {
  reply_head out;
  out.kind = head.kind;
  out.sequence = head.sequence;
  out.flags = a.flags;
  out.result = a.result;
  out.data_len = static_cast<u32>(a.data.size());
  iovec pieces[2] = {{&out, sizeof out}, {a.data.data(), a.data.size()}};
  passed_fd_room room;
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  if (a.fd) {
    // A descriptor that nobody takes out of the channel costs its program none of its own.
    if (has_unread(ch.fd.get())) return false;
    room.put(message, a.fd.get());
  }
  if (::sendmsg(ch.fd.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
  if (!a.fd || (errno != ETOOMANYREFS && errno != ENOMEM && errno != ENOBUFS)) return false;
  if (a.fd_spared) return reply(ch, head, {a.result, std::move(a.data), {}, a.flags});
  return reply(ch, head, refusal(errc::nfile));  // the kernel passes no descriptors now
}

std::vector<known_process> drop_in_state::peers() const {
  std::vector<known_process> out;
  for (const auto& [id, c] : channels_) {
    if (c.host != nullptr) out.push_back({c.who.process, c.opened, {}});
  }
  return out;
}

// --- the outside ------------------------------------------------------------------------------

drop_in::drop_in(std::unique_ptr<drop_in_state> state) : state_(std::move(state)) {}
drop_in::~drop_in() = default;

result<std::unique_ptr<drop_in>> drop_in::create(const drop_in_options& options, find_host hosts) {
  u64 instance = options.instance;
  while (instance == 0) instance = random_u64();
  TRY(anchor_folder anchors, anchor_folder::create(instance));
  // Before the secret, whose it is: the shim tells it to nobody else (shim/channel.cpp).
  const std::string token =
      std::to_string(::geteuid()) + "-" + hex(random_u64()) + hex(random_u64());
  auto state = std::make_unique<drop_in_state>(instance, token, std::move(anchors),
                                               std::move(hosts), options);
  if (!state->closes().works()) return fail(errc::nospc);
  TRY_VOID(state->listen_at(options.address));
  return std::make_unique<drop_in>(std::move(state));
}

int drop_in::fd() const { return state_->fd(); }
bool drop_in::process() { return state_->process(); }
std::size_t drop_in::socket_count() const { return state_->client_count(); }
u64 drop_in::instance() const { return state_->instance(); }
const std::string& drop_in::anchor_folder_path() const { return state_->anchors().path(); }
const std::string& drop_in::address() const { return state_->address(); }
std::vector<known_process> drop_in::peers() const { return state_->peers(); }

std::vector<std::pair<std::string, std::string>> drop_in::environment(std::string_view host) const {
  return {
      {env_socket, state_->address()}, {env_host, std::string(host)}, {env_token, state_->token()}};
}

}  // namespace ph::dropin
