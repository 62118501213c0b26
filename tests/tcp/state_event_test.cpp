// RFC 9293 §3.10.7 as a table: every state against every kind of segment, with the rules of RFC
// 5961 for what is not exactly right. Each cell says what the host answers and where it ends up.
#include <gtest/gtest.h>

#include <map>

#include "net/tcp/tcp_timewait.h"
#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// A host in one state. `next` is the peer's next sequence number, `una` what it acknowledged.
struct in_state {
  segment_peer p;
  int fd = -1;
  s64 next = 0, una = 0;

  explicit in_state(const std::string& name) {
    p.advance(seconds(10));
    if (name == "closed") return;
    if (name == "listen") {
      p.listener = p.listening();
    } else if (name == "syn_sent") {
      fd = p.connecting();
    } else if (name == "syn_recv") {
      p.listener = p.listening();
      p.begin_passive(p.plain());
    } else if (name == "syn_crossed") {
      fd = p.connecting();
      p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, p.syn_options(p.plain())});
      p.take();
    } else {
      synchronised(name);
    }
    p.expect_nothing();
  }

  void synchronised(const std::string& name) {
    fd = p.accepted();
    if (name == "established") return;
    if (name == "close_wait" || name == "last_ack") {
      p.send(F | A, 0, 0);
      p.advance(milliseconds(100));
      p.expect(A, 0, 1);
      next = 1;
      if (name == "close_wait") return;
      p.close(fd);
      fd = -1;
      p.expect(F | A, 0, 1);
      return;
    }
    p.shut(fd, shut_wr);
    p.expect(F | A, 0, 0);
    if (name == "fin_wait1") return;
    if (name == "closing") {
      p.send(F | A, 0, 0);
      p.expect(A, 1, 1);
      next = 1;
      return;
    }
    p.send(A, 0, 1);
    una = 1;
    if (name == "fin_wait2") return;
    p.send(F | A, 0, 1);
    p.expect(A, 1, 1);
    next = 1;
    p.close(fd);
    fd = -1;
  }

  /// Where the host is now, as seen from outside and, without a file, in its tables.
  std::string where() {
    std::string out;
    if (fd >= 0) return name_of(p.state(fd));
    tcp_of(p.a.net()).ehash.for_each([&](ehash_entry& e) {
      switch (e.kind) {
        case ehash_kind::established: out = name_of(static_cast<tcp_sock&>(e).state); break;
        case ehash_kind::request: out = "syn_recv"; break;
        case ehash_kind::timewait:
          out = static_cast<tcp_timewait&>(e).fin_wait2 ? "fin_wait2" : "time_wait";
          break;
      }
    });
    if (!out.empty()) return out;
    return p.listener >= 0 ? "listen" : "closed";
  }
  static std::string name_of(tcp_state s) {
    constexpr const char* names[] = {"?",          "established", "syn_sent", "syn_recv",
                                     "fin_wait1",  "fin_wait2",   "time_wait", "closed",
                                     "close_wait", "last_ack",    "listen",   "closing"};
    return names[static_cast<std::size_t>(s)];
  }
  /// All that the host says within a second, in short: ". ack 1" …
  std::string said() {
    p.advance(milliseconds(150));
    std::string out;
    while (!p.sent.empty()) {
      const seen_segment s = p.take();
      if (!out.empty()) out += ", ";
      out += s.text();
    }
    return out.empty() ? "-" : out;
  }
};

void happen(in_state& s, const std::string& event) {
  segment_peer& p = s.p;
  const s64 n = s.next, una = s.una;
  const segment_peer::extra syn{65535, p.syn_options(p.plain())};
  if (event == "rst exact") p.send(R, n, 0);
  if (event == "rst inside") p.send(R, n + 1, 0);
  if (event == "rst outside") p.send(R, n + 100'000, 0);
  if (event == "rst+ack exact") p.send(R | A, n, una);
  if (event == "syn inside") p.send(S, n + 1, 0, {}, syn);
  if (event == "syn before") p.send(S, n - 100'000, 0, {}, syn);
  if (event == "syn+ack") p.send(S | A, -1, una, {}, syn);
  if (event == "ack unsent") p.send(A, n, una + 1000);
  if (event == "ack ancient") p.send(A, n, una - 200'000);
  if (event == "data without ack") p.send(P, n, 0, "x");
  if (event == "old data") p.send(A, n - 1, una, "x");
  if (event == "data beyond") p.send(A, n + 70'000, una, "x");
  if (event == "data") p.send(A, n, una, "x");
  if (event == "fin") p.send(F | A, n, una);
}

const std::vector<std::string> events = {
    "rst exact",  "rst inside",  "rst outside",      "rst+ack exact", "syn inside",
    "syn before", "syn+ack",     "ack unsent",       "ack ancient",   "data without ack",
    "old data",   "data beyond", "data",             "fin"};

/// In the order of `events`. "-": no answer.
const std::map<std::string, std::vector<std::string>> table = {
    {"closed",
     {"- -> closed", "- -> closed", "- -> closed", "- -> closed", "R. -> closed", "R. -> closed",
      "R -> closed", "R -> closed", "R -> closed", "R. -> closed", "R -> closed", "R -> closed",
      "R -> closed", "R -> closed"}},
    {"listen",
     {"- -> listen", "- -> listen", "- -> listen", "- -> listen", "S. -> syn_recv",
      "S. -> syn_recv", "R -> listen", "R -> listen", "R -> listen", "- -> listen",
      "R -> listen", "R -> listen", "R -> listen", "R -> listen"}},
    {"syn_sent",
     {"- -> syn_sent", "- -> syn_sent", "- -> syn_sent", "- -> closed", "S. -> syn_recv",
      "S. -> syn_recv", ". -> established", "R -> syn_sent", "R -> syn_sent", "- -> syn_sent",
      "- -> syn_sent", "- -> syn_sent", "- -> syn_sent", "- -> syn_sent"}},
    {"syn_recv",
     {"- -> listen", ". -> syn_recv", "- -> syn_recv", "- -> listen", "R. -> listen",
      ". -> syn_recv", ". -> syn_recv", "R -> syn_recv", "R -> syn_recv", "- -> syn_recv",
      ". -> syn_recv", ". -> syn_recv", ". -> established", ". -> close_wait"}},
    {"syn_crossed",
     {"- -> closed", ". -> syn_recv", "- -> syn_recv", "- -> closed", ". -> syn_recv",
      ". -> syn_recv", ". -> established", "R -> syn_recv", "R -> syn_recv", "- -> syn_recv",
      ". -> established", ". -> syn_recv", ". -> established", ". -> close_wait"}},
    {"established",
     {"- -> closed", ". -> established", "- -> established", "- -> closed", ". -> established",
      ". -> established", ". -> established", ". -> established", ". -> established",
      "- -> established", ". -> established", ". -> established", ". -> established",
      ". -> close_wait"}},
    {"fin_wait1",
     {"- -> closed", ". -> fin_wait1", "- -> fin_wait1", "- -> closed", ". -> fin_wait1",
      ". -> fin_wait1", ". -> fin_wait1", ". -> fin_wait1", ". -> fin_wait1", "- -> fin_wait1",
      ". -> fin_wait1", ". -> fin_wait1", ". -> fin_wait1", ". -> closing"}},
    {"fin_wait2",
     {"- -> closed", ". -> fin_wait2", "- -> fin_wait2", "- -> closed", ". -> fin_wait2",
      ". -> fin_wait2", ". -> fin_wait2", ". -> fin_wait2", ". -> fin_wait2", "- -> fin_wait2",
      ". -> fin_wait2", ". -> fin_wait2", ". -> fin_wait2", ". -> closed"}},
    {"close_wait",
     {"- -> closed", ". -> close_wait", "- -> close_wait", "- -> closed", ". -> close_wait",
      ". -> close_wait", ". -> close_wait", ". -> close_wait", ". -> close_wait",
      "- -> close_wait", ". -> close_wait", ". -> close_wait", "- -> close_wait",
      "- -> close_wait"}},
    {"closing",
     {"- -> closed", ". -> closing", "- -> closing", "- -> closed", ". -> closing",
      ". -> closing", ". -> closing", ". -> closing", ". -> closing", "- -> closing",
      ". -> closing", ". -> closing", "- -> closing", "- -> closing"}},
    {"last_ack",
     {"- -> listen", ". -> last_ack", "- -> last_ack", "- -> listen", ". -> last_ack",
      ". -> last_ack", ". -> last_ack", ". -> last_ack", ". -> last_ack", "- -> last_ack",
      ". -> last_ack", ". -> last_ack", "- -> last_ack", "- -> last_ack"}},
    {"time_wait",
     {"- -> listen", "- -> time_wait", "- -> time_wait", "- -> listen", "S. -> syn_recv",
      ". -> time_wait", ". -> time_wait", "- -> time_wait", "- -> time_wait", ". -> time_wait",
      ". -> time_wait", ". -> time_wait", ". -> time_wait", ". -> time_wait"}},
};

TEST(tcp_states, every_state_against_every_segment) {
  for (const std::string state :
       {"closed", "listen", "syn_sent", "syn_recv", "syn_crossed", "established", "fin_wait1",
        "fin_wait2", "close_wait", "closing", "last_ack", "time_wait"}) {
    const auto row = table.find(state);
    std::string line;
    for (std::size_t i = 0; i < events.size(); ++i) {
      SCOPED_TRACE(state + " x " + events[i]);
      in_state s(state);
      ASSERT_EQ(s.where(), state == "syn_crossed" ? "syn_recv" : state);
      happen(s, events[i]);
      const std::string result = s.said() + " -> " + s.where();
      line += (i == 0 ? "" : " | ") + events[i] + ": " + result;
      if (row != table.end()) {
        EXPECT_EQ(result, row->second[i]);
      }
    }
    if (row == table.end()) ADD_FAILURE() << "no row for " << state << "\n" << line;
  }
}

}  // namespace
}  // namespace ph
