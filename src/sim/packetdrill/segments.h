// Between the script's packets and real ones: what each flow's numbers are on either side, bytes
// for injected packets, and the comparison of sent ones.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "sim/packetdrill/script.h"
#include "wire/inet_addr.h"

namespace ph::packetdrill {

/// How strictly sent packets are compared.
struct strictness {
  bool windows = true;         ///< the window field
  bool option_layout = true;   ///< order and padding of options, window scale's value
  bool freebsd = false;        ///< differences between FreeBSD and Linux that the RFCs leave open
  duration timestamp_tick{};   ///< also compare how far TS val went on; zero: do not
  duration tolerance{};        ///< how far it may be off
  bool strict_segments = false;///< a script packet is one real packet
};

/// A TCP connection as the script sees it.
struct flow {
  enum class state_type : u8 { fresh, listening, connecting, passive, active };
  state_type state = state_type::fresh;
  int fd = -1;                 ///< the script's descriptor, -1: none yet
  ipv4_addr local, remote;
  u16 local_port = 0, remote_port = 0;
  bool isn_known = false;      ///< live and script local ISN are known
  u32 isn_offset = 0;          ///< our live ISN: behind the SYN, scripts count from it
  u32 script_isn = 0;          ///< what the script calls it on SYNs
  bool remote_known = false;   ///< the peer's ISN is known
  u32 remote_isn = 0;          ///< on SYNs as written; behind them, scripts count from it
  std::map<u32, u32> ts_live;  ///< script TS val → live TS val, of sent packets
  bool ts_known = false;
  u32 ts_offset = 0;           ///< live minus script, from the first one
  std::optional<u32> fin_seq;  ///< where our FIN stands in the script's numbers, once sent
};

/// A packet the host sent: a bare IPv4 datagram.
struct sent_packet {
  instant when;
  std::vector<u8> bytes;
};

/// The IPv4 datagram of an injected packet.
std::vector<u8> build_packet(const packet_spec& spec, const flow& f);

/// Does this datagram belong to the flow (both addresses, known ports)?
bool belongs(const sent_packet& packet, const flow& f);

/// Compares the oldest of `sent` that belongs to the flow with what the script expects, takes it
/// (or, for a script packet longer than a segment, those that make it up) and learns ISN, ports and
/// timestamps. `missing` is set when more packets are needed first. Returns the difference,
/// empty if none.
std::string match_packet(const packet_spec& spec, flow& f, std::deque<sent_packet>& sent,
                         const strictness& how, bool& missing);

/// What the host sent, in the script's numbers; nullopt if it is no TCP.
std::optional<packet_spec> in_script_numbers(const sent_packet& packet, const flow& f);

/// One line for a person, in the script's own notation and numbers.
std::string format_spec(const packet_spec& spec);
std::string format_sent(const sent_packet& packet, const flow& f);

}  // namespace ph::packetdrill
