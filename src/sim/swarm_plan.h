// What a seed of the swarm stands for: hosts, wires and their faults, settings, and conversations
// with the way each side behaves. Plain data, drawn from the seed alone; src/sim/swarm.cpp builds
// and runs it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/link.h"

namespace ph::sim {

/// An option that a program sets on its socket.
struct option_setting {
  int level = 0, name = 0, value = 0;
};

/// What one side of a connection does.
struct side_plan {
  u64 bytes = 0;                 ///< to send in all
  u32 write_chunk = 16384;
  duration write_pause{};        ///< between two writes
  u32 read_chunk = 16384;
  duration read_pause{};         ///< between two reads
  duration read_delay{};         ///< before the first
  bool writes_after_eof = false; ///< first reads to the end: the peer half-closes
  s64 abort_after = -1;          ///< writes nothing, and closes with a reset after so many bytes
  bool leaves_early = false;     ///< reads nothing, and closes when it has written
  bool resets = false;           ///< closes with a reset in any case
  u32 urgent_every = 0;          ///< each so many writes one byte is urgent; 0: never
  bool waits_to_close = false;   ///< closes at an agreed instant, together with the peer
  bool opens_with_data = false;  ///< TCP_FASTOPEN_CONNECT
  std::vector<option_setting> options;
  std::string congestion;        ///< TCP_CONGESTION; empty: the host's
};

enum class flow_kind : u8 {
  bulk, request_response, half_close, slow_reader, zero_window, abort, short_connections,
  simultaneous_close, simultaneous_open, urgent, leave_early, both_ways, count,
};
std::string_view flow_kind_name(flow_kind kind);

/// Connections from one host to another, one after the other.
struct flow_plan {
  flow_kind kind = flow_kind::bulk;
  std::size_t client = 0, server = 0;  ///< hosts; the same one talks to itself over lo
  u16 port = 0;
  u32 connections = 1;
  u32 rounds = 0;                ///< request_response: how many
  instant start{};
  duration close_after{};        ///< waits_to_close: when, counted from the client's start
  side_plan client_side, server_side;
  bool may_fail = false;         ///< faults or behaviour may end it with an error
};

struct blackout {
  instant from, to;
};

struct wire_plan {
  std::size_t a = 0, b = 0;      ///< hosts
  u32 mtu = 1500;
  link_config a_to_b, b_to_a;    ///< until the faults end
  bool faulty = false;
  std::vector<blackout> blackouts;
};

struct swarm_plan {
  u64 seed = 0;
  std::size_t hosts = 2;
  std::vector<wire_plan> wires;  ///< the hosts form a tree
  std::vector<std::vector<std::pair<std::string, std::string>>> sysctls;  ///< by host
  std::vector<flow_plan> flows;
  instant faults_end{};
  bool corrupts = false;         ///< some wire turns bits
  double lo_loss = 0;            ///< of what hosts say to themselves, until the faults end
  duration attack_every{};       ///< between two segments that an attacker sends; 0: there is none
  double buggify = 0;            ///< chance of each rare branch that may be forced
  [[nodiscard]] std::string describe() const;
};

/// The address of a host on a wire, and the one by which others know it.
ipv4_addr swarm_addr(std::size_t wire, bool end_b);
ipv4_addr swarm_host_addr(const swarm_plan& plan, std::size_t host);
std::string swarm_host_name(std::size_t host);
/// For each host the wire that leads to `target`; the target's own entry is meaningless.
std::vector<std::size_t> swarm_next_wires(const swarm_plan& plan, std::size_t target);

/// `congestion`: the names of the algorithms that a host knows.
swarm_plan draw_swarm_plan(u64 seed, const std::vector<std::string>& congestion);

}  // namespace ph::sim
