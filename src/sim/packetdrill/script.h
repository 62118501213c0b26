// The packetdrill language as data: options, then events in time, each a packet, a system call, a
// shell command or a block of assertions. Parsing only; running is runner.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "wire/tcp.h"

namespace ph::packetdrill {

/// A fault of the script, with its place.
struct script_error {
  int line = 0;
  std::string message;
  bool unsupported = false;            ///< the language has it, this interpreter does not
};

/// When an event happens. `from`/`to` are offsets from the script's start (absolute) or from the
/// event before (relative).
struct event_time {
  enum class kind_type : u8 { absolute, relative, any } kind = kind_type::absolute;
  duration from{}, to{};               ///< to == from unless a range a~b was given
  std::optional<duration> end;         ///< a blocking call's end, same base as from
};

/// A value in a system call.
struct expression {
  enum class kind_type : u8 { ellipsis, integer, word, text, list, structure, negated,
                              function };
  kind_type kind = kind_type::ellipsis;
  s64 number = 0;
  std::string word;                    ///< name, quoted text, or A|B|C as written
  std::vector<expression> items;       ///< list, function's arguments; structure: by `names`
  std::vector<std::string> names;      ///< structure: field names ("" for a bare value)
  /// The field of a structure, or nullptr.
  [[nodiscard]] const expression* field(std::string_view name) const;
};

struct tcp_option_spec {
  enum class kind_type : u8 { eol, nop, mss, wscale, sack_ok, sack, timestamp, fast_open,
                              fast_open_exp, md5, accecn };
  kind_type kind{};
  u32 value = 0, value2 = 0;           ///< mss, shift, TS val and ecr
  std::vector<std::pair<u32, u32>> blocks;
  std::vector<u8> bytes;               ///< Fast Open cookie
  bool flag = false;                   ///< md5: valid; accecn: ECT(1) first (kind 174)
  std::vector<u32> counters;           ///< accecn: in the order of the option
};

struct icmp_spec {
  u8 type = 0, code = 0;
  u32 mtu = 0;
};

enum class ecn_mark : u8 { unchecked, none, ect0, ect1, ect01, ce };

struct packet_spec {
  bool inbound = false;                ///< '<': injected; '>': expected
  ecn_mark ecn = ecn_mark::unchecked;
  std::optional<u8> tos, ttl;
  std::optional<icmp_spec> icmp;       ///< then the TCP part, if any, is what it quotes
  bool has_tcp = true;
  u8 flags = 0;                        ///< tcphdr_*
  bool ae = false;
  u32 seq = 0, seq_end = 0, payload = 0;
  bool any_seq = false;                ///< written as ...(n)
  bool absolute_seq = false;           ///< written with '!'
  std::optional<u32> ack;
  std::optional<u16> window;
  std::optional<u16> urgent;
  bool any_options = false;            ///< <...>
  std::vector<tcp_option_spec> options;
  std::optional<u32> udp_payload;      ///< a UDP packet
  std::optional<std::pair<u16, u16>> udp_encapsulation;  ///< "/udp(src > dst)"
};

struct syscall_spec {
  std::string name;
  std::vector<expression> arguments;
  expression result;
  std::string error;                   ///< "EINPROGRESS" or empty
};

struct event {
  enum class kind_type : u8 { packet, syscall, command, code } kind = kind_type::packet;
  int line = 0;
  event_time time;
  packet_spec packet;
  syscall_spec call;
  std::string text;                    ///< command or code
};

struct script {
  std::string path;
  std::vector<std::pair<std::string, std::string>> options;  ///< --name=value
  std::vector<std::string> init_commands;                    ///< backticks before any event
  std::vector<event> events;
};

/// Parses the text of a script. `defines`: names replaced by text (packetdrill's -D).
tl::expected<script, script_error> parse_script(
    std::string path, std::string_view text,
    const std::vector<std::pair<std::string, std::string>>& defines);

}  // namespace ph::packetdrill
