// Counters and their encodings, names as in RFC 9768: r.* is `rcv`, s.* is `snd`.
#include "net/tcp/tcp_accecn.h"

#include <algorithm>

namespace ph {
namespace {

constexpr u32 ace_mask = 7;
constexpr u32 option_mask = 0xffffff;
constexpr std::size_t option_bytes = 12;  ///< all fields, padded

u8 ace_of(const tcp_seg& seg) {
  return static_cast<u8>((seg.ae ? 4 : 0) | ((seg.flags & tcphdr_cwr) != 0 ? 2 : 0) |
                         ((seg.flags & tcphdr_ece) != 0 ? 1 : 0));
}

tcp_ecn_flags flags_of(u32 ace) {
  return {static_cast<u8>(((ace & 2) != 0 ? tcphdr_cwr : 0) | ((ace & 1) != 0 ? tcphdr_ece : 0)),
          (ace & 4) != 0};
}

/// Tables 2 and 3: one of four IP-ECN fields as AE, CWR, ECE.
u8 encode(u8 ecn) {
  switch (ecn) {
    case uapi::iptos_ecn_ect1: return 0b011;
    case uapi::iptos_ecn_ect0: return 0b100;
    case uapi::iptos_ecn_ce: return 0b110;
    default: return 0b010;
  }
}

std::optional<u8> decode(u8 ace) {
  switch (ace) {
    case 0b010: return uapi::iptos_ecn_not_ect;
    case 0b011: return uapi::iptos_ecn_ect1;
    case 0b100: return uapi::iptos_ecn_ect0;
    case 0b110: return uapi::iptos_ecn_ce;
    default: return std::nullopt;
  }
}

/// §3.2.2.4: only ECT may become CE; nothing else may change.
bool valid_transition(u8 sent, u8 arrived) {
  return sent == arrived || (sent != uapi::iptos_ecn_not_ect && arrived == uapi::iptos_ecn_ce);
}

u8 ecn_of_syns(const tcp_sock& tp) {
  return tp.ca->needs_ecn() ? uapi::iptos_ecn_ect0 : uapi::iptos_ecn_not_ect;
}

/// How far a counter of the option is ahead of ours; an old one changes nothing.
u32 advance(u32& counter, u32 reported) {
  const u32 ahead = (reported - counter) & option_mask;
  if (ahead > option_mask / 2) return 0;
  counter += ahead;
  return ahead;
}

/// Takes the option; the newly marked bytes, if it tells.
std::optional<u32> take_option(tcp_sock& tp) {
  tcp_ecn_state& ecn = tp.ecn;
  const tcp_accecn_option& option = tp.rx.accecn;
  if (!option.present || ecn.option_bad) return std::nullopt;
  if (!ecn.peer_option) {
    // §3.2.3.2.3: these counters begin at one, so a zero is somebody else's.
    ecn.option_bad = (option.has_e0b() && option.e0b == 0) ||
                     (option.has_e1b() && option.e1b == 0);
    if (ecn.option_bad) return std::nullopt;
    ecn.peer_option = true;
  }
  if (option.has_e0b()) advance(ecn.snd.e0b, option.e0b);
  if (option.has_e1b()) advance(ecn.snd.e1b, option.e1b);
  if (!option.has_ceb()) return std::nullopt;
  return advance(ecn.snd.ceb, option.ceb);
}

/// Appendix A.2.1: three bits may have wrapped while acknowledgements were lost or thinned out.
u32 likely_marked(const tcp_sock& tp, u32 least, u32 delivered, std::optional<u32> marked_bytes) {
  if (delivered <= ace_mask) return least;
  const u32 most = delivered - ((delivered - least) & ace_mask);
  if (marked_bytes) {
    if (*marked_bytes == 0) return least;
    const u32 mss = tp.mss_cache;
    const bool enough = least != 0 && *marked_bytes / least <= mss;
    return enough && *marked_bytes / std::max(most, 1u) < mss / 2 ? least : most;
  }
  // §3.2.2.5.2: under prevailing conditions. So many marks at once are believed where at least
  // half of the segments were marked before.
  const tcp_ecn_state& ecn = tp.ecn;
  return ecn.recent_marked != 0 && ecn.recent_marked * 2 >= ecn.recent_acked ? most : least;
}

/// The first acknowledgement of a bare handshake has a meaning of its own.
bool answers_synack(const tcp_sock& tp, u8 flags) {
  return tp.ecn.asked == tcp_ecn_mode::accecn && flags == tcphdr_ack && tp.num_sacks == 0 &&
         tp.rcv_nxt == tp.irs + 1 && tp.snd_nxt == tp.iss + 1;
}

tcp_accecn_option make_option(const tcp_accecn_counters& from, std::size_t room) {
  tcp_accecn_option out;
  const std::size_t fields = room >= option_bytes ? 3 : room >= 8 ? 2 : 0;
  out.present = fields != 0;
  out.fields = static_cast<u8>(fields);
  out.e0b = from.e0b & option_mask;
  out.ceb = from.ceb & option_mask;
  out.e1b = from.e1b & option_mask;
  return out;
}

}  // namespace

tcp_ecn_flags tcp_accecn_synack_flags(u8 syn_ecn) { return flags_of(encode(syn_ecn)); }

tcp_ecn_flags tcp_accecn_flags(tcp_sock& tp, u8 flags, bool new_data) {
  if (!new_data && answers_synack(tp, flags)) return flags_of(encode(tp.ecn.handshake_ecn));
  tp.ecn.cep_told = tp.ecn.rcv.cep;
  return flags_of(tp.ecn.rcv.cep & ace_mask);
}

bool tcp_accecn_rcv_synack(tcp_sock& tp, const tcp_seg& seg) {
  const std::optional<u8> arrived = decode(ace_of(seg));
  if (!arrived) return false;
  tcp_ecn_state& ecn = tp.ecn;
  ecn.mode = tcp_ecn_mode::accecn;
  ecn.handshake_ecn = ecn.last_ecn = seg.ecn();
  if (seg.ecn() == uapi::iptos_ecn_ce) ++ecn.rcv.cep;
  ecn.no_ect = !valid_transition(ecn_of_syns(tp), *arrived);
  static_cast<void>(take_option(tp));
  return true;
}

bool tcp_accecn_third_ack(tcp_sock& tp, const tcp_seg& seg) {
  tcp_ecn_state& ecn = tp.ecn;
  // With data or SACK blocks the field is the ordinary counter.
  if (seg.len != 0 || seg.fin() || tp.rx.num_sacks != 0) return false;
  ecn.ace_checked = true;
  static_cast<void>(take_option(tp));
  const u8 ace = ace_of(seg);
  const std::optional<u8> arrived = decode(ace);
  // §3.2.2.1: zero means that the field is wiped on the way; other values are for the future.
  ecn.no_ect = ace == 0 || (arrived && !valid_transition(ecn_of_syns(tp), *arrived));
  if (arrived == uapi::iptos_ecn_ce) ++ecn.snd.cep;
  return true;
}

void tcp_accecn_receive(tcp_sock& tp, const tcp_seg& seg) {
  tcp_ecn_state& ecn = tp.ecn;
  switch (seg.ecn()) {
    case uapi::iptos_ecn_ect0: ecn.rcv.e0b += seg.len; break;
    case uapi::iptos_ecn_ect1: ecn.rcv.e1b += seg.len; break;
    case uapi::iptos_ecn_ce:
      ecn.rcv.cep += seg.packets;
      ecn.rcv.ceb += seg.len;
      ecn.option_owed = std::max<u8>(ecn.option_owed, 1);
      break;
    default: break;
  }
  if (seg.ecn() != uapi::iptos_ecn_not_ect) ecn.seen = true;
  if (seg.len != 0 && seg.ecn() != ecn.last_ecn) {
    // §3.2.2.5.1: a change of marks is told at once, and the option twice, so that it is clear
    // which counter moves now.
    ecn.last_ecn = seg.ecn();
    ecn.option_owed = 2;
    tp.ack_now = true;
  }
  // Three bits must not wrap unseen; acknowledging acknowledgements takes more.
  if (ecn.rcv.cep - ecn.cep_told >= (seg.len != 0 ? 2u : 3u)) tp.ack_now = true;
}

u32 tcp_accecn_ack(tcp_sock& tp, const tcp_seg& seg, u32 delivered) {
  tcp_ecn_state& ecn = tp.ecn;
  const u8 ace = ace_of(seg);
  // §3.2.2.3: counting from five, the first value cannot well be zero.
  if (!std::exchange(ecn.ace_checked, true) && ace == 0) ecn.no_ect = true;
  const std::optional<u32> marked_bytes = take_option(tp);
  if (ecn.no_ect || (delivered == 0 && seg.len == 0)) return 0;
  const u32 least = (ace - ecn.snd.cep) & ace_mask;
  const u32 marked = likely_marked(tp, least, delivered, marked_bytes);
  ecn.snd.cep += marked;
  ecn.recent_acked += delivered;
  ecn.recent_marked += marked;
  if (ecn.recent_acked > 64) {
    ecn.recent_acked /= 2;
    ecn.recent_marked /= 2;
  }
  return marked;
}

tcp_accecn_option tcp_accecn_out_option(tcp_sock& tp, std::size_t room) {
  tcp_ecn_state& ecn = tp.ecn;
  const s32 setting = tp.tcp().sysctl.ecn_option;
  if (ecn.mode != tcp_ecn_mode::accecn || !ecn.peer_option || setting == 0) return {};
  const bool handshake = tp.rcv_nxt == tp.irs + 1;
  if (setting == 1 && ecn.option_owed == 0 && !handshake) return {};
  tcp_accecn_option out = make_option(ecn.rcv, room);
  // §3.2.3.3: what changes comes first, where not everything fits.
  out.ect1_first = ecn.last_ecn == uapi::iptos_ecn_ect1;
  if (out.present && ecn.option_owed != 0) --ecn.option_owed;
  return out;
}

tcp_accecn_option tcp_accecn_synack_option(const tcp_sysctls& sysctl, std::size_t room) {
  if (sysctl.ecn_option == 0 || room < option_bytes) return {};
  return make_option({}, room);
}

u32 tcp_accecn_option_bytes(const tcp_sock& tp) {
  const bool possible = tp.ecn.mode == tcp_ecn_mode::accecn && tp.ecn.peer_option &&
                        tp.tcp().sysctl.ecn_option != 0;
  return possible ? static_cast<u32>(option_bytes) : 0;
}

}  // namespace ph
