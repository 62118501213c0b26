// Counters and their encodings, names as in RFC 9768: r.* is `rcv`, s.* is `snd`.
#include "net/tcp/tcp_accecn.h"

#include <algorithm>

#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_sack.h"

namespace ph {
namespace {

constexpr u32 ace_mask = 7;
constexpr u32 option_mask = 0xffffff;
constexpr std::size_t option_bytes = 12;  ///< all fields, padded
/// §3.2.3.3: a counter is told at least once for so many bytes.
constexpr u32 most_untold = u32{1} << 22;
/// The average of segments per acknowledgement: a fixed-point number that moves by this part.
constexpr u32 average_part = 64;
/// Who acknowledges more at a time thins acknowledgements out on purpose.
constexpr u32 usual_segs_per_ack = 4;

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

u8 ecn_of_syns(const tcp_sock& tp) {
  return tp.ca->needs_ecn() ? uapi::iptos_ecn_ect0 : uapi::iptos_ecn_not_ect;
}

/// §3.2.2.3: how our SYN or SYN+ACK arrived. Only ECT may become CE, nothing else may change. The
/// check is part of net.ipv4.tcp_ecn_fallback, as on Linux.
void check_mangling(tcp_sock& tp, u8 arrived) {
  tp.ecn.syn_marked = arrived == uapi::iptos_ecn_ce;
  const u8 sent = ecn_of_syns(tp);
  const bool valid = sent == arrived || (sent != uapi::iptos_ecn_not_ect && tp.ecn.syn_marked);
  if (!valid && tp.tcp().sysctl.ecn_fallback != 0) tp.ecn.no_ect = true;
}

/// A SYN+ACK came: its mark is told by the next bare ACK, and CE is counted once (§3.2.2.2).
void note_synack(tcp_sock& tp, const tcp_seg& seg) {
  tcp_ecn_state& ecn = tp.ecn;
  ecn.handshake_ecn = seg.ecn();
  ecn.reflect = true;
  if (seg.ecn() == uapi::iptos_ecn_ce && !std::exchange(ecn.synack_ce, true)) ++ecn.rcv.cep;
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
    // §3.2.3.2.4: these counters begin at one, so a zero is somebody else's.
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

/// Appendix A.1: an acknowledgement that says nothing new may be older than the last one. New is
/// what it acknowledges, what it brings, or its timestamp.
bool superseded(tcp_sock& tp, const tcp_seg& seg, bool progress) {
  tcp_ecn_state& ecn = tp.ecn;
  const bool stamped = tp.tstamp_ok && tp.rx.saw_tstamp;
  const bool later = stamped && static_cast<s32>(tp.rx.rcv_tsval - ecn.last_tsval) > 0;
  if (later) ecn.last_tsval = tp.rx.rcv_tsval;
  return !progress && !later && (seg.len == 0 || seg.end_seq <= tp.rcv_nxt);
}

void note_delivered(tcp_ecn_state& ecn, u32 delivered) {
  const u32 now = std::min(delivered, u32{0xffff}) * average_part;
  if (delivered == 0) return;
  ecn.segs_per_ack = ecn.segs_per_ack == 0
                         ? now
                         : ecn.segs_per_ack + now / average_part - ecn.segs_per_ack / average_part;
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
  // §3.2.2.5.2, the safest likely case under the prevailing conditions: a large jump of a peer that
  // usually acknowledges a few segments means lost acknowledgements, and marks among them. Where
  // every acknowledgement is large, they are thinned out before the counter wraps.
  return tp.ecn.segs_per_ack > usual_segs_per_ack * average_part ? least : most;
}

/// How many fields the option needs so that each counter that changed since the last one is told;
/// ECT(1) first, as Linux always writes it.
std::size_t fields_needed(const tcp_ecn_state& ecn) {
  if (ecn.rcv.e0b != ecn.told.e0b) return 3;
  if (ecn.rcv.ceb != ecn.told.ceb) return 2;
  return ecn.rcv.e1b != ecn.told.e1b ? 1 : 0;
}

std::size_t padded(std::size_t fields) {
  return (tcpolen_accecn_base + tcpolen_accecn_perfield * fields + 3) / 4 * 4;
}

tcp_accecn_option make_option(const tcp_accecn_counters& from, std::size_t fields) {
  tcp_accecn_option out;
  out.present = true;
  out.ect1_first = true;
  out.fields = static_cast<u8>(fields);
  out.e0b = from.e0b & option_mask;
  out.ceb = from.ceb & option_mask;
  out.e1b = from.e1b & option_mask;
  return out;
}

/// The most fields that fit; none: not even the empty option does.
std::optional<std::size_t> fields_that_fit(std::size_t room) {
  for (std::size_t fields = 4; fields-- > 0;) {
    if (padded(fields) <= room) return fields;
  }
  return std::nullopt;
}

bool option_possible(const tcp_sock& tp) {
  const s32 setting = tp.tcp().sysctl.ecn_option;
  return tp.ecn.mode == tcp_ecn_mode::accecn && tp.ecn.peer_option && setting != 0 &&
         (!tp.ecn.option_lost || setting >= 3);
}

/// net.ipv4.tcp_ecn_option=1 sends the option where it is owed, at the handshake (§3.2.3.2.1), or
/// when it was not sent for a part of the round trip (the beacon).
bool option_due(const cpu& cx, const tcp_sock& tp) {
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  const tcp_ecn_state& ecn = tp.ecn;
  if (!option_possible(tp)) return false;
  if (sysctl.ecn_option >= 2 || ecn.option_owed != 0) return true;
  if (tp.rcv_nxt == tp.irs + 1 || tp.snd_una == tp.iss + 1) return true;
  return sysctl.ecn_option_beacon != 0 &&
         (cx.now() - ecn.option_sent_at) * sysctl.ecn_option_beacon >= tp.srtt;
}

/// §3.2.3.2.2: the first data never arrive with the option, or what we acknowledge with it comes
/// again and again. Either way it is the option that the path may not like.
void look_for_lost_option(tcp_sock& tp) {
  tcp_ecn_state& ecn = tp.ecn;
  const bool first_data = tp.retransmits != 0 && tp.snd_una == tp.iss + 1 &&
                          tp.rtx_queue.sacked_out() == 0 && tp.state != tcp_state::syn_recv;
  const bool acks = tp.have_dsack && ecn.dsack_with_option &&
                    tp.duplicate_sack.start_seq == ecn.dsack_start;
  if (first_data || acks) ecn.option_lost = true;
}

void note_option_sent(const cpu& cx, tcp_sock& tp, const tcp_accecn_option& option) {
  tcp_ecn_state& ecn = tp.ecn;
  if (option.has_e1b()) ecn.told.e1b = ecn.rcv.e1b;
  if (option.has_ceb()) ecn.told.ceb = ecn.rcv.ceb;
  if (option.has_e0b()) ecn.told.e0b = ecn.rcv.e0b;
  if (ecn.option_owed != 0) --ecn.option_owed;
  ecn.option_sent_at = cx.now();
}

/// How many of `blocks` SACK blocks stay, so that an option of `fields` fits too.
std::size_t sack_blocks_beside(std::size_t room, std::size_t blocks, std::size_t fields) {
  constexpr std::size_t always = 2;
  for (std::size_t keep = blocks; keep != 0; --keep) {
    const std::size_t taken = tcpolen_sack_base_aligned + keep * tcpolen_sack_perblock;
    if (taken + padded(fields) <= room) return keep;
    if (keep <= always) break;
  }
  return blocks;
}

}  // namespace

u8 tcp_ace(const tcp_seg& seg) {
  return static_cast<u8>((seg.ae ? 4 : 0) | ((seg.flags & tcphdr_cwr) != 0 ? 2 : 0) |
                         ((seg.flags & tcphdr_ece) != 0 ? 1 : 0));
}

tcp_ecn_flags tcp_ace_flags(u32 ace) {
  return {static_cast<u8>(((ace & 2) != 0 ? tcphdr_cwr : 0) | ((ace & 1) != 0 ? tcphdr_ece : 0)),
          (ace & 4) != 0};
}

tcp_ecn_flags tcp_accecn_synack_flags(u8 syn_ecn) { return tcp_ace_flags(encode(syn_ecn)); }

tcp_ecn_flags tcp_accecn_flags(tcp_sock& tp, u8 flags, tcp_ecn_load load) {
  if (tp.ecn.reflect && flags == tcphdr_ack && load == tcp_ecn_load::none) {
    tp.ecn.reflect = false;
    return tcp_ace_flags(encode(tp.ecn.handshake_ecn));
  }
  tp.ecn.told.cep = tp.ecn.rcv.cep;
  return tcp_ace_flags(tp.ecn.rcv.cep & ace_mask);
}

bool tcp_accecn_rcv_synack(tcp_sock& tp, const tcp_seg& seg) {
  const u8 ace = tcp_ace(seg);
  // Table 2: nothing, RFC 3168, and our own flags thrown back.
  if (ace == 0b000 || ace == 0b001 || ace == 0b111) return false;
  tcp_ecn_state& ecn = tp.ecn;
  ecn.mode = tcp_ecn_mode::accecn;
  ecn.last_ecn = seg.ecn();
  ecn.last_tsval = tp.rx.rcv_tsval;
  note_synack(tp, seg);
  // §3.1.3: a combination that is kept for later means that the SYN arrived unchanged.
  if (const std::optional<u8> arrived = decode(ace)) check_mangling(tp, *arrived);
  static_cast<void>(take_option(tp));
  return true;
}

void tcp_accecn_rcv_synack_again(tcp_sock& tp, const tcp_seg& seg) {
  const bool ours = seg.syn() && seg.ack() && seg.seq == tp.irs && seg.ack_seq > tp.iss &&
                    seg.ack_seq <= tp.snd_nxt;
  if (ours) note_synack(tp, seg);
}

bool tcp_accecn_third_ack(tcp_sock& tp, const tcp_seg& seg) {
  tcp_ecn_state& ecn = tp.ecn;
  ecn.last_tsval = tp.rx.rcv_tsval;
  // With data or SACK blocks the field is the ordinary counter.
  if (seg.len != 0 || seg.fin() || tp.rx.num_sacks != 0) return false;
  static_cast<void>(take_option(tp));
  const u8 ace = tcp_ace(seg);
  if (ace == 0) {
    // Note 1: the field is wiped on the way, or the peer does without ECN.
    ecn.no_ect = ecn.feedback_bad = true;
  } else if (const std::optional<u8> arrived = decode(ace)) {
    check_mangling(tp, *arrived);
    if (ecn.syn_marked) ++ecn.snd.cep;
  }
  return true;
}

void tcp_accecn_receive(tcp_sock& tp, const tcp_seg& seg) {
  tcp_ecn_state& ecn = tp.ecn;
  const bool ce = seg.ecn() == uapi::iptos_ecn_ce;
  u32* counter = nullptr;
  u32 told = 0;
  switch (seg.ecn()) {
    case uapi::iptos_ecn_ect0: counter = &ecn.rcv.e0b; told = ecn.told.e0b; break;
    case uapi::iptos_ecn_ect1: counter = &ecn.rcv.e1b; told = ecn.told.e1b; break;
    case uapi::iptos_ecn_ce: counter = &ecn.rcv.ceb; told = ecn.told.ceb; break;
    default: break;
  }
  if (ce) ecn.rcv.cep += seg.packets;
  if (counter != nullptr) {
    ecn.seen = true;
    *counter += seg.len;
    if (seg.len != 0 && (ce || *counter - told >= most_untold)) {
      ecn.option_owed = std::max<u8>(ecn.option_owed, 1);
    }
  }
  const bool ce_begins = ce && ecn.last_ecn != seg.ecn();
  ecn.last_ecn = seg.ecn();
  if (seg.len != 0 && std::exchange(ecn.last_data_ecn, seg.ecn()) != seg.ecn()) {
    // §3.2.3.3: the option twice, so that it is clear which counter moves now. §3.2.2.5.1 asks for
    // an acknowledgement at once where CE begins; its end is as good to know.
    ecn.option_owed = 2;
    tp.ack_now = true;
  }
  if (seg.len != 0 && ce_begins) tp.ack_now = true;
  // Three bits must not wrap unseen; acknowledging acknowledgements takes more.
  const bool unacknowledged = seg.len != 0 || tp.ack_scheduled;
  if (ecn.rcv.cep - ecn.told.cep >= (unacknowledged ? 2u : 3u)) tp.ack_now = true;
}

u32 tcp_accecn_ack(tcp_sock& tp, const tcp_seg& seg, u32 delivered, bool una_advanced) {
  tcp_ecn_state& ecn = tp.ecn;
  const u8 ace = tcp_ace(seg);
  // §3.2.2.4: counting from five, the first value cannot well be zero.
  if (!std::exchange(ecn.ace_checked, true) && ace == 0) ecn.no_ect = ecn.feedback_bad = true;
  if (superseded(tp, seg, delivered != 0 || una_advanced)) return 0;
  const std::optional<u32> marked_bytes = take_option(tp);
  if (ecn.feedback_bad) return 0;
  note_delivered(ecn, delivered);
  const u32 least = (ace - ecn.snd.cep) & ace_mask;
  // §3.2.3.2.5: marked bytes without a marked packet are somebody's invention.
  if (marked_bytes.value_or(0) != 0 && least == 0 && delivered <= ace_mask) ecn.no_ect = true;
  const u32 marked = likely_marked(tp, least, delivered, marked_bytes);
  ecn.snd.cep += marked;
  return marked;
}

void tcp_accecn_and_sack_options(cpu& cx, tcp_sock& tp, tcp_out_options& out) {
  look_for_lost_option(tp);
  const std::size_t room = tcp_option_room_left(tp, out);
  const bool due = option_due(cx, tp);
  const std::size_t needed = fields_needed(tp.ecn);
  if (tp.sack_ok) tcp_sack_options(tp, out);
  if (due && needed != 0) {
    out.num_sacks = static_cast<u8>(sack_blocks_beside(room, out.num_sacks, needed));
  }
  const auto fit = fields_that_fit(tcp_option_room_left(tp, out));
  const bool sent = due && fit && *fit >= needed;
  if (sent) {
    out.accecn = make_option(tp.ecn.rcv, *fit);
    note_option_sent(cx, tp, out.accecn);
  }
  if (tp.have_dsack && out.num_sacks != 0) {
    tp.ecn.dsack_with_option = sent;
    tp.ecn.dsack_start = tp.duplicate_sack.start_seq;
  }
}

tcp_accecn_option tcp_accecn_synack_option(const tcp_sysctls& sysctl, std::size_t room) {
  const auto fit = fields_that_fit(room);
  if (sysctl.ecn_option == 0 || !fit) return {};
  return make_option({}, *fit);
}

u32 tcp_accecn_option_bytes(const tcp_sock& tp) {
  const std::size_t always = tp.tstamp_ok ? tcpolen_tstamp_aligned : 0;
  const bool fits = tcp_option_room(tp) >= always + option_bytes;
  return option_possible(tp) && fits ? static_cast<u32>(option_bytes) : 0;
}

}  // namespace ph
