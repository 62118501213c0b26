// Readers and writers as coroutines that record instead of throwing.
#include "sim/swarm_flows.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::sim {

using namespace literals;
using namespace uapi;

namespace {

constexpr duration accept_patience = seconds(20);
constexpr u64 up_salt = 0x75, down_salt = 0x64;

/// Eight bytes of a stream that has no short period.
u64 stream_word(u64 salt, u64 word) { return mix64(word * 2 + (salt << 48) + 1); }

u8 stream_byte_at(u64 salt, u64 offset) {
  return static_cast<u8>(stream_word(salt, offset / 8) >> (offset % 8 * 8));
}

void fill_stream(u64 salt, u64 offset, byte_span out) {
  std::size_t i = 0;
  for (; i < out.size() && (offset + i) % 8 != 0; ++i) out[i] = stream_byte_at(salt, offset + i);
  for (; i + 8 <= out.size(); i += 8) {
    const u64 word = stream_word(salt, (offset + i) / 8);
    std::memcpy(&out[i], &word, 8);
  }
  for (; i < out.size(); ++i) out[i] = stream_byte_at(salt, offset + i);
}

/// One side of one connection, shared by its threads.
struct side {
  side_plan plan;
  std::shared_ptr<side_outcome> seen;
  int fd = -1;
  u64 out_salt = 0, in_salt = 0;
  instant close_at{};
  int threads = 2;
  bool closed = false;
  bool read_to_end = false;
  void failed(const char* call, errc why) {
    if (seen->error != errc::ok) return;
    seen->error = why;
    seen->failed_call = call;
  }
};
using side_ptr = std::shared_ptr<side>;

void set_up(app& a, int fd, const side_plan& plan) {
  for (const option_setting& o : plan.options) {
    // What a build does not know it refuses; the plan is then milder.
    static_cast<void>(a.call([&](task& t) {
      return sys_setsockopt_int(t, fd, o.level, o.name, o.value);
    }));
  }
  if (plan.congestion.empty()) return;
  static_cast<void>(a.call([&](task& t) {
    return sys_setsockopt(t, fd, ipproto_tcp, tcp_congestion, bytes_of(plan.congestion));
  }));
}

void close_now(app& a, side& s, bool reset) {
  if (std::exchange(s.closed, true)) return;
  if (s.seen->client_port == 0) {  // only now known: the connection was opened by its first data
    const auto own = a.call([&](task& t) { return sys_getsockname(t, s.fd); });
    if (own) s.seen->client_port = endpoint::of(*own).port;
  }
  if (reset) a.set_linger(s.fd, true, 0);
  a.close(s.fd);
}

/// The last of a connection's threads closes it.
void thread_over(app& a, side& s) {
  if (--s.threads != 0) return;
  close_now(a, s, s.plan.resets);
  s.seen->done = true;
}

/// Reads into the checker; false when there will be no more.
co<bool> read_some(app& a, side_ptr s, byte_span buffer) {
  const auto got = co_await a.try_recv(s->fd, buffer);
  if (s->closed) co_return false;
  if (!got) {
    s->failed("recv", got.error());
    co_return false;
  }
  if (*got == 0) {
    s->seen->saw_end = s->read_to_end = true;
    co_return false;
  }
  std::vector<u8> expected(*got);
  fill_stream(s->in_salt, s->seen->received, expected);
  if (std::memcmp(expected.data(), buffer.data(), *got) != 0 && s->seen->wrong_byte == ~u64{0}) {
    const auto at = std::mismatch(expected.begin(), expected.end(), buffer.begin()).first;
    s->seen->wrong_byte = s->seen->received + static_cast<u64>(at - expected.begin());
  }
  s->seen->received += *got;
  co_return true;
}

co<> reader(app& a, side_ptr s) {
  std::vector<u8> buffer(s->plan.read_chunk);
  // TCP_FASTOPEN_CONNECT: before the first data there is no connection to read from.
  while (s->plan.opens_with_data && s->seen->sent == 0 && s->seen->error == errc::ok &&
         s->threads == 2) {
    co_await a.sleep(10_ms);
  }
  if (s->plan.read_delay.ns > 0) co_await a.sleep(s->plan.read_delay);
  while (!s->closed) {
    const s64 quota = s->plan.abort_after;
    if (quota >= 0 && static_cast<s64>(s->seen->received) >= quota) {
      s->plan.resets = true;
      break;
    }
    if (!co_await read_some(a, s, buffer)) break;
    if (s->plan.read_pause.ns > 0) co_await a.sleep(s->plan.read_pause);
  }
  thread_over(a, *s);
}

/// Sends all of `data`, the last byte as urgent if asked; false when the connection is over.
co<bool> write_all(app& a, side_ptr s, byte_view data, bool urgent) {
  while (!data.empty()) {
    const bool last = urgent && data.size() == 1;
    const byte_view piece = urgent && !last ? data.first(data.size() - 1) : data;
    const auto sent = co_await a.try_send(s->fd, piece, msg_nosignal | (last ? msg_oob : 0u));
    if (s->closed) co_return false;
    if (!sent) {
      s->failed("send", sent.error());
      co_return false;
    }
    s->seen->sent += *sent;
    data = data.subspan(*sent);
  }
  co_return true;
}

co<> writer(app& a, side_ptr s) {
  while (s->plan.writes_after_eof && !s->read_to_end && !s->closed &&
         s->seen->error == errc::ok) {
    co_await a.sleep(50_ms);
  }
  std::vector<u8> piece;
  u32 writes = 0;
  bool well = !s->closed;
  while (well && s->seen->sent < s->plan.bytes) {
    piece.resize(std::min<u64>(s->plan.write_chunk, s->plan.bytes - s->seen->sent));
    fill_stream(s->out_salt, s->seen->sent, piece);
    const bool urgent = s->plan.urgent_every != 0 && ++writes % s->plan.urgent_every == 0;
    well = co_await write_all(a, s, piece, urgent);
    if (well && s->plan.write_pause.ns > 0) co_await a.sleep(s->plan.write_pause);
    well = well && !s->closed;
  }
  if (well) s->seen->finished_writing = true;
  if (well && s->plan.waits_to_close) co_await a.sleep_until(std::max(s->close_at, a.now()));
  if (!s->plan.leaves_early && !s->closed) {
    static_cast<void>(a.call([&](task& t) { return sys_shutdown(t, s->fd, shut_wr); }));
  }
  thread_over(a, *s);
}

void start_side(app& a, const side_ptr& s) {
  // A thread that waits in a call keeps the socket open: who closes at will is alone.
  const bool reads = !s->plan.leaves_early;
  const bool writes = s->plan.abort_after < 0;
  s->threads = (reads ? 1 : 0) + (writes ? 1 : 0);
  if (reads) a.spawn("reader", [s](app& t) { return reader(t, s); });
  if (writes) a.spawn("writer", [s](app& t) { return writer(t, s); });
}

/// Reads exactly n bytes; false when they do not come.
co<bool> read_exactly(app& a, side_ptr s, u64 n) {
  std::vector<u8> buffer(n);
  for (u64 have = 0; have < n;) {
    const u64 before = s->seen->received;
    if (!co_await read_some(a, s, byte_span(buffer).first(n - have))) co_return false;
    have += s->seen->received - before;
  }
  co_return true;
}

co<bool> write_message(app& a, side_ptr s, u64 n) {
  std::vector<u8> piece(n);
  fill_stream(s->out_salt, s->seen->sent, piece);
  co_return co_await write_all(a, s, piece, false);
}

/// Requests and answers; both sides then close.
co<> converse(app& a, side_ptr s, const flow_plan& plan, bool client) {
  bool well = true;
  for (u32 i = 0; well && i < plan.rounds; ++i) {
    if (client) {
      if (plan.client_side.write_pause.ns > 0) co_await a.sleep(plan.client_side.write_pause);
      well = co_await write_message(a, s, plan.client_side.bytes) &&
             co_await read_exactly(a, s, plan.server_side.bytes);
    } else {
      well = co_await read_exactly(a, s, plan.client_side.bytes) &&
             co_await write_message(a, s, plan.server_side.bytes);
    }
  }
  if (well) {
    s->seen->finished_writing = true;
    static_cast<void>(a.call([&](task& t) { return sys_shutdown(t, s->fd, shut_wr); }));
    std::vector<u8> rest(1);
    while (co_await read_some(a, s, rest)) {}
  }
  close_now(a, *s, false);
  s->seen->done = true;
}

side_ptr make_side(const flow_plan& plan, bool client, int fd) {
  auto s = std::make_shared<side>();
  s->plan = client ? plan.client_side : plan.server_side;
  s->seen = std::make_shared<side_outcome>();
  s->fd = fd;
  s->out_salt = (client ? up_salt : down_salt) + plan.port * 256u;
  s->in_salt = (client ? down_salt : up_salt) + plan.port * 256u;
  s->close_at = plan.start + plan.close_after;
  return s;
}

void play(app& a, const side_ptr& s, const flow_plan& plan, bool client) {
  if (plan.kind == flow_kind::request_response) {
    a.spawn("talker", [s, &plan, client](app& t) { return converse(t, s, plan, client); });
  } else {
    start_side(a, s);
  }
}

co<> serve(app& a, const flow_plan& plan, std::shared_ptr<flow_outcome> out) {
  const int listener = a.tcp();
  set_up(a, listener, plan.server_side);
  a.bind(listener, {ipv4_addr(), plan.port});
  a.listen(listener, 64);
  a.set_timeout(listener, so_rcvtimeo, accept_patience);
  while (!out->client_over || (a.poll_now(listener) & pollin) != 0) {
    endpoint peer;
    const auto fd = co_await a.try_accept(listener, &peer);
    if (!fd) continue;
    a.set_timeout(*fd, so_rcvtimeo, {});  // inherited; other options of the listener are not
    set_up(a, *fd, plan.server_side);
    const side_ptr s = make_side(plan, false, *fd);
    s->seen->client_port = peer.port;
    s->seen->connected = true;
    out->servers.push_back(s->seen);
    play(a, s, plan, false);
  }
  a.close(listener);
}

co<> call_once(app& a, const flow_plan& plan, std::shared_ptr<flow_outcome> out, ipv4_addr to) {
  const int fd = a.tcp();
  set_up(a, fd, plan.client_side);
  const side_ptr s = make_side(plan, true, fd);
  out->clients.push_back(s->seen);
  const auto connected = co_await a.try_connect(fd, {to, plan.port});
  if (!connected) {
    s->failed("connect", connected.error());
    s->seen->done = true;
    a.close(fd);
    co_return;
  }
  s->seen->connected = true;
  s->seen->client_port = a.getsockname(fd).port;
  play(a, s, plan, true);
  while (!s->seen->done) co_await a.sleep(100_ms);
}

co<> call(app& a, const flow_plan& plan, std::shared_ptr<flow_outcome> out, ipv4_addr to) {
  co_await a.sleep_until(plan.start);
  for (u32 i = 0; i < plan.connections; ++i) co_await call_once(a, plan, out, to);
  out->client_over = true;
}

/// RFC 9293 figure 7: both ends call each other's port at once.
co<> call_both(app& a, const flow_plan& plan, std::shared_ptr<flow_outcome> out, endpoint to,
               bool client) {
  const int fd = a.tcp();
  side_plan mine = client ? plan.client_side : plan.server_side;
  set_up(a, fd, mine);
  a.setsockopt(fd, sol_socket, so_reuseaddr, 1);
  a.bind(fd, {ipv4_addr(), plan.port});
  co_await a.sleep_until(plan.start);
  const side_ptr s = make_side(plan, client, fd);
  s->seen->client_port = plan.port;
  (client ? out->clients : out->servers).push_back(s->seen);
  const auto connected = co_await a.try_connect(fd, to);
  if (!connected) {
    s->failed("connect", connected.error());
    s->seen->done = true;
    a.close(fd);
    co_return;
  }
  s->seen->connected = true;
  start_side(a, s);
}

}  // namespace

std::shared_ptr<flow_outcome> spawn_flow(world& w, const flow_plan& plan, ipv4_addr to,
                                         ipv4_addr back) {
  auto out = std::make_shared<flow_outcome>();
  const std::string client = swarm_host_name(plan.client);
  const std::string server = swarm_host_name(plan.server);
  if (plan.kind == flow_kind::simultaneous_open) {
    w.spawn(server, "caller", [&plan, out, back](app& a) {
      return call_both(a, plan, out, {back, plan.port}, false);
    });
    w.spawn(client, "caller", [&plan, out, to](app& a) {
      return call_both(a, plan, out, {to, plan.port}, true);
    });
    return out;
  }
  w.spawn(server, "server", [&plan, out](app& a) { return serve(a, plan, out); });
  w.spawn(client, "client", [&plan, out, to](app& a) { return call(a, plan, out, to); });
  return out;
}

}  // namespace ph::sim
