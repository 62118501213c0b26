// tcp_sock: the state of one TCP connection (or listener) with the names of RFC 9293 §3.3.1, and
// of TCP in one namespace. Who changes what:
//
//   tcp            the program's side: queues fill and empty
//   tcp_input      segments arrive: state machine, receive variables
//   tcp_ack        acknowledgements: send variables, RTT, clearing the retransmission queue
//   tcp_outstanding  what was sent and is not acknowledged: packets, marks, counts
//   tcp_sack       which segments the peer has, which of its we have
//   tcp_recovery   which segments are lost, congestion states, retransmission
//   tcp_ofo        data out of order, receive buffer and its growth
//   tcp_output     choosing, cutting, building and sending segments; the window we offer
//   tcp_timer      time
//
// A socket in the established or listening table holds a reference to itself (`self`), so it
// lives as long as the connection does. No other file's data are changed behind its back.
#pragma once

#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/seq.h"
#include "kernel/timer_wheel.h"
#include "net/core/skb_queue.h"
#include "net/inet/inet_hashtables.h"
#include "net/inet/inet_ports.h"
#include "net/inet/inet_sock.h"
#include "net/tcp/tcp_cong.h"
#include "net/tcp/tcp_drop_reasons.h"
#include "net/tcp/tcp_listeners.h"
#include "net/tcp/tcp_mib.h"
#include "net/tcp/tcp_outstanding.h"
#include "net/tcp/tcp_skb.h"
#include "net/tcp/tcp_timewait_ports.h"
#include "uapi/socket.h"
#include "wire/tcp.h"

namespace ph {

using uapi::tcp_ca_state;
using uapi::tcp_state;

// --- constants (RFC 9293, RFC 6298, RFC 1122; values as Linux has them) -----------------------
inline constexpr duration tcp_rto_min = milliseconds(200);
inline constexpr duration tcp_rto_max = seconds(120);
inline constexpr duration tcp_timeout_init = seconds(1);   ///< RFC 6298 §2.1
inline constexpr duration tcp_delack_min = milliseconds(40);
inline constexpr duration tcp_delack_max = milliseconds(200);
inline constexpr duration tcp_ato_min = milliseconds(40);
inline constexpr duration tcp_timewait_len = seconds(60);  ///< 2 MSL
inline constexpr duration tcp_resource_probe = milliseconds(500);  ///< after a local refusal
inline constexpr u32 tcp_max_quickacks = 16;
inline constexpr s32 tcp_no_challenge_limit = 0x7fffffff;  ///< of tcp_challenge_ack_limit
inline constexpr u32 tcp_init_cwnd = 10;                   ///< RFC 6928
inline constexpr u32 tcp_min_mss = 88;
inline constexpr u32 tcp_dupthresh = 3;
inline constexpr u32 tcp_max_window = 65535;               ///< without scaling
inline constexpr duration tcp_paws_24days = seconds(s64{60} * 60 * 24 * 24);

/// Bytes of buffer a payload may be expected to fill: half, the rest is overhead.
constexpr u32 tcp_win_from_space(u32 space) { return space / 2; }
constexpr u32 tcp_space_from_win(u32 window) { return window * 2; }

/// net.ipv4.tcp_recovery: RFC 8985 finds losses; its reordering window stays; dupthresh
/// selective acknowledgements do not close it.
enum : s32 {
  tcp_recovery_rack = 1,
  tcp_recovery_static_reo_wnd = 2,
  tcp_recovery_no_dupthresh = 4,
};

/// RFC 8985 §6.1, the connection's variables.
struct tcp_rack_state {
  instant xmit_ts{};              ///< transmission of the latest segment that was delivered
  seq32 end_seq;                  ///< its end
  duration rtt{};                 ///< its round trip
  seq32 fack;                     ///< end of the highest segment delivered
  u32 reo_wnd_mult = 1;           ///< reordering window in quarters of the minimum RTT
  u8 reo_wnd_persist = 0;         ///< recoveries for which the multiple stays
  std::optional<seq32> dsack_round;
  bool advanced = false;          ///< news since losses were sought
};

/// RFC 8985 §7.1: the loss probe under way.
struct tcp_probe_state {
  std::optional<seq32> end_seq;   ///< SND.NXT when it left
  bool is_retrans = false;
};

/// What a needless reduction took away.
struct tcp_undo_state {
  std::optional<seq32> marker;    ///< SND.UNA when it began; none: nothing to take back
  s64 retrans = -1;               ///< copies that no D-SACK has reported; negative: none was sent
  u32 cwnd = 0, ssthresh = 0;     ///< before it; zero: unknown
};

/// Which feedback of congestion marks both ends agreed on.
enum class tcp_ecn_mode : u8 { none, rfc3168, accecn };

/// The counters of RFC 9768 §3.2.1 of one direction.
struct tcp_accecn_counters {
  u32 cep = 5;                    ///< packets marked CE
  u32 ceb = 0, e0b = 1, e1b = 1;  ///< payload bytes by the IP-ECN field
};

/// Explicit Congestion Notification (tcp_ecn, tcp_accecn).
struct tcp_ecn_state {
  tcp_ecn_mode asked = tcp_ecn_mode::none;  ///< what our SYN asked for
  tcp_ecn_mode mode = tcp_ecn_mode::none;
  tcp_ecn_mode peer_asked = tcp_ecn_mode::none;  ///< the peer's first SYN, if it was not a SYN+ACK
  bool seen = false;              ///< the peer's packets came with ECT or CE
  bool demand_cwr = false;        ///< RFC 3168 §6.1.3: echo until the peer answers
  bool queue_cwr = false;         ///< RFC 3168 §6.1.2: the next new data carry CWR
  bool ce_state = false;          ///< RFC 8257 §3.2: DCTCP.CE
  u32 delivered_ce = 0;           ///< segments of ours that arrived marked
  // Accurate ECN (RFC 9768).
  tcp_accecn_counters rcv;        ///< what we saw (r.*)
  tcp_accecn_counters snd;        ///< what the peer saw, as far as we know (s.*)
  tcp_accecn_counters told;       ///< r.* of the last acknowledgement (cep) and the last option
  u8 handshake_ecn = 0;           ///< IP-ECN of the latest SYN or SYN+ACK that we answer
  u8 synacks = 0;                 ///< SYN+ACKs sent by a socket (not by a request)
  bool reflect = false;           ///< the next bare ACK tells handshake_ecn (§3.2.2.1)
  bool synack_ce = false;         ///< a SYN+ACK came with CE: counted once
  bool syn_marked = false;        ///< the peer says that our SYN or SYN+ACK arrived with CE
  bool no_ect = false;            ///< the path spoils marks or the handshake was mixed: Not-ECT
  bool feedback_bad = false;      ///< ACE is wiped on the way: it says nothing
  bool ace_checked = false;       ///< the peer's first ACE after the handshake was looked at
  bool peer_option = false;       ///< the peer sends the option, so may we
  bool option_bad = false;        ///< somebody on the path changes the option
  bool option_lost = false;       ///< what carries our option does not arrive
  bool dsack_with_option = false; ///< the last D-SACK block went with the option
  seq32 dsack_start;              ///< where that block begins
  u8 last_ecn = 0;                ///< IP-ECN of the last packet
  u8 last_data_ecn = 0;           ///< and of the last one with data
  u8 option_owed = 0;             ///< acknowledgements that must carry the option
  instant option_sent_at{};
  u32 last_tsval = 0;             ///< TS Value of the latest feedback
  u32 segs_per_ack = 0;           ///< average, times tcp_accecn_average
};

/// Keys of signed segments (tcp_auth.h).
struct tcp_auth;

/// RFC 4821 §7: the search for the largest segment that the path takes. Sizes are of IP packets.
struct tcp_mtup_state {
  bool enabled = false;
  u32 search_low = 0;             ///< known to pass
  u32 search_high = 0;            ///< larger ones are not tried
  u32 probe_size = 0;             ///< of the probe in flight; 0: none
  seq32 probe_start, probe_end;   ///< its sequence numbers
  instant stamp{};                ///< last time that the search began anew
};

/// TCP_REPAIR_QUEUE.
enum class tcp_repair_queue : u8 { none = 0, recv = 1, send = 2 };

/// A MSG_ZEROCOPY send whose last byte is not yet acknowledged.
struct tcp_zerocopy_send {
  seq32 end_seq;
  u32 id = 0;
};

/// What the retransmission timer stands for when it is not the persist timer.
enum class tcp_rtx_event : u8 { timeout, reordering, loss_probe };

/// A received segment in host order; SYN and FIN count in end_seq.
struct tcp_seg {
  seq32 seq, end_seq, ack_seq;
  u16 source = 0, dest = 0;
  u16 window = 0;        ///< as on the wire
  u16 urg_ptr = 0;
  u8 flags = 0;
  u8 tos = 0;            ///< of the IP header
  bool ae = false;       ///< RFC 9768: third bit beside ECE and CWR
  u16 packets = 1;       ///< of the wire, if it is a super-packet
  u32 len = 0;           ///< payload bytes
  u32 hdr_bytes = 0;     ///< TCP header with options
  byte_view options;     ///< valid while the packet's head is
  [[nodiscard]] bool fin() const { return (flags & tcphdr_fin) != 0; }
  [[nodiscard]] bool syn() const { return (flags & tcphdr_syn) != 0; }
  [[nodiscard]] bool rst() const { return (flags & tcphdr_rst) != 0; }
  [[nodiscard]] bool ack() const { return (flags & tcphdr_ack) != 0; }
  [[nodiscard]] bool urg() const { return (flags & tcphdr_urg) != 0; }
  [[nodiscard]] u8 ecn() const { return tos & uapi::iptos_ecn_mask; }
};

// --- namespace --------------------------------------------------------------------------------

/// net.ipv4.tcp_* with Linux's defaults.
struct tcp_sysctls {
  s32 rmem[3] = {4096, 131072, 33554432};
  s32 wmem[3] = {4096, 16384, 4194304};
  s32 mem[3] = {94500, 126000, 189000};  ///< pages: calm again, under pressure, no more
  s32 syn_retries = 6, synack_retries = 5;
  s32 syn_linear_timeouts = 4;    ///< of a SYN, before they double
  s32 rto_max_ms = 120'000;
  s32 rto_min_us = 200'000;
  s32 thin_linear_timeouts = 0;
  s32 retries1 = 3, retries2 = 15, orphan_retries = 0;
  s32 fin_timeout = 60;
  s32 keepalive_time = 7200, keepalive_intvl = 75, keepalive_probes = 9;
  s32 max_syn_backlog = 0;        ///< by memory: tcp_set_limits
  s32 syncookies = 1;             ///< 1: when the queue is full, 2: always
  s32 abort_on_overflow = 0;
  s32 window_scaling = 1, timestamps = 1, sack = 1, dsack = 1;
  s32 moderate_rcvbuf = 1;
  s32 slow_start_after_idle = 1;
  s32 tw_reuse = 2, tw_reuse_delay = 1000;  ///< ms
  s32 max_tw_buckets = 0;                   ///< by memory: tcp_set_limits
  s32 max_orphans = 0;                      ///< by memory: tcp_set_limits
  s32 rfc1337 = 0;
  s32 stdurg = 0;
  s32 challenge_ack_limit = tcp_no_challenge_limit;
  s32 invalid_ratelimit = 500;
  s32 min_snd_mss = 48;
  u32 notsent_lowat = ~u32{0};
  s32 mtu_probing = 0;            ///< 1: after a black hole, 2: always
  s32 base_mss = 1024, mtu_probe_floor = 48;
  s32 probe_interval = 600, probe_threshold = 8;
  s32 fastopen = 1;               ///< bits of tcp_fastopen.h
  std::string fastopen_key = "00000000-00000000-00000000-00000000";
  bool fastopen_key_given = false;  ///< someone wrote it; else a secret one is used
  s32 min_tso_segs = 2, tso_rtt_log = 9;
  s32 pacing_ss_ratio = 200, pacing_ca_ratio = 120;
  s32 recovery = 1;               ///< tcp_recovery_rack ...
  s32 early_retrans = 3;          ///< 0: no loss probes
  s32 frto = 2;                   ///< 0: timeouts are never doubted
  s32 reordering = 3, max_reordering = 300;
  s32 ecn = 2;                    ///< see tcp_ecn.h
  s32 ecn_fallback = 1;           ///< a SYN sent again does not ask for ECN
  s32 ecn_option = 2;             ///< AccECN option: 0 never, 1 when it tells something, 2 always,
                                  ///< 3 even where it does not seem to pass
  s32 ecn_option_beacon = 3;      ///< with 1: at least so often in a round trip
  std::string congestion_control = "cubic";
};

/// What a client remembers of a server for Fast Open (RFC 7413 §4.1.3).
struct tcp_fastopen_peer {
  tcp_fastopen_cookie cookie;
  u16 mss = 0;                    ///< as it announced it; 0: unknown
  u8 try_exp = 0;                 ///< 1: ask with the experimental option; 2: that failed, too
  u8 syn_losses = 0;              ///< SYNs with data in a row that did not arrive
  instant last_loss{};
};

/// What all sockets of a namespace hold (tcp_mem).
struct tcp_memory_account {
  s64 pages = 0;
  u32 sockets = 0;
  bool pressure = false;
};

class tcp_sock;
struct tcp_request;
struct tcp_timewait;

/// Of what stands for a connection in TIME-WAIT.
inline constexpr std::size_t tcp_timewait_bytes = 272;

/// TCP's state in one namespace.
struct tcp_net final : slot_object {
  explicit tcp_net(net_namespace& net);
  /// Ends every connection without a word.
  ~tcp_net() override;
  net_namespace& net;
  tcp_sysctls sysctl;
  siphash_key ehash_key, isn_key, ts_key, fastopen_secret, cookie_key, cookie_time_key;
  std::map<std::pair<inet_addr, inet_addr>, tcp_fastopen_peer> fastopen_peers;  ///< ours, theirs
  sock_list sockets;
  inet_ehash ehash;
  tcp_listeners listeners;
  inet_ports ports;
  slab_pool timewait_memory{tcp_timewait_bytes};  ///< they outlive the sockets around by a minute
  tcp_timewait_ports timewaits;
  u32 orphans = 0;                ///< connections without a file
  tcp_memory_account memory;
  std::vector<inet_addr> proven_peers;  ///< a hash of hosts with which connections ended well
  u32 challenge_count = 0;        ///< challenge ACKs still allowed in this second (RFC 5961 §7)
  s64 challenge_second = -1;
};
inline constexpr slot_key<tcp_net> tcp_key{"tcp"};
inline tcp_net& tcp_of(net_namespace& net) { return net.slots().get(tcp_key); }

// --- socket -----------------------------------------------------------------------------------

/// What holds the sender back, worse last: TCP_INFO's busy times.
enum class tcp_chrono : u8 { idle, busy, rwnd_limited, sndbuf_limited };

// The state of a socket in groups of values. What a new connection begins with and what a child
// inherits is said by assigning whole groups, never field by field.

/// What the program asked for (tcp(7)); it outlives connections, and a child has its listener's.
struct tcp_program_options {
  bool nodelay = false, cork = false;
  bool thin_linear_timeouts = false;  ///< TCP_THIN_LINEAR_TIMEOUTS
  bool recv_cmsg_inq = false;     ///< TCP_INQ
  u8 keepalive_probes = 0;        ///< TCP_KEEPCNT, 0: default
  u8 syn_retries = 0;             ///< TCP_SYNCNT
  duration keepalive_time{}, keepalive_intvl{};
  s32 linger2 = 0;                ///< seconds; 0: default, negative: no FIN_WAIT2
  u32 user_timeout_ms = 0;
  u32 notsent_lowat = 0;          ///< 0: the namespace's
  u32 user_mss = 0;               ///< TCP_MAXSEG
  duration rto_max = tcp_rto_max;  ///< TCP_RTO_MAX_MS
  duration rto_min = tcp_rto_min;  ///< TCP_RTO_MIN_US
  duration delack_max = tcp_delack_max;  ///< TCP_DELACK_MAX_US
  std::string congestion_name;    ///< TCP_CONGESTION; empty: the namespace's
};

/// Options both ends agreed on. A half-open connection has them before there is a socket, TIME-WAIT
/// when there is none any more.
struct tcp_agreed_options {
  bool tstamp_ok = false, sack_ok = false, wscale_ok = false;
  bool ts_recent_valid = false;
  u8 snd_wscale = 0, rcv_wscale = 0;
  u32 ts_recent = 0;
  u32 tsoffset = 0;           ///< our timestamps are clock + this
  instant ts_recent_stamp{};  ///< when it was taken; zero: never
};

/// Send sequence (RFC 9293 §3.3.1) and what the program has written.
struct tcp_send_vars {
  seq32 iss, snd_una, snd_nxt, snd_wl1, snd_up;
  u32 snd_wnd = 0;                ///< peer's window, bytes
  u32 max_window = 0;             ///< largest that the peer ever offered
  seq32 write_seq;                ///< after the last byte the program gave
  seq32 pushed_seq;               ///< after the last PSH
  seq32 snd_sml;                  ///< end of the last small segment (Minshall's Nagle)
  bool urg_mode = false;          ///< snd_up is ahead of what was acknowledged
  bool sndbuf_full = false;       ///< the program waits for room (SOCK_NOSPACE)
  bool writer_blocked = false;    ///< a call waits for sndbuf_full to end
  std::vector<tcp_zerocopy_send> zerocopy_sends;  ///< oldest first
};

/// Sizes of segments.
struct tcp_size_vars {
  u32 mss_cache = uapi::tcp_mss_default;  ///< payload of a full segment, without options that vary
  u32 mss_clamp = uapi::tcp_mss_default;  ///< what the peer's MSS option and TCP_MAXSEG allow
  u32 advmss = uapi::tcp_mss_default;     ///< what we tell the peer
  u32 pmtu_cookie = 0;            ///< path MTU for which mss_cache was computed
  tcp_mtup_state mtup;
};

/// Congestion and recovery.
struct tcp_recovery_vars {
  u32 lost = 0;                   ///< segments ever marked lost
  congestion_state cong;
  tcp_ca_state ca_state = tcp_ca_state::open;
  seq32 high_seq;                 ///< snd_nxt when the recovery began
  seq32 recover;                  ///< RFC 6582: no new fast retransmit up to here
  bool recover_valid = false;
  seq32 lost_edge;                ///< everything before is judged
  seq32 retrans_hint;             ///< nothing lost and unsent before
  seq32 highest_sack;             ///< begin of the highest packet that was selectively acknowledged
  std::array<tcp_sack_block, tcp_max_sacks> sack_cache{};  ///< blocks of the last acknowledgement
  seq32 high_rxt;                 ///< end of the last retransmission in this recovery
  u32 reordering = tcp_dupthresh;  ///< segments by which the path was seen to reorder
  tcp_rack_state rack;
  tcp_probe_state tlp;
  tcp_undo_state undo;
  bool frto = false;              ///< RFC 5682: whether the timeout was needless is not yet known
  u32 max_packets_out = 0;        ///< most outstanding in the current window
  seq32 max_packets_seq;
  bool is_cwnd_limited = false;
  u32 prior_cwnd = 0;             ///< when the reduction began; 0: the algorithm's own affair
  u32 prr_delivered = 0, prr_out = 0;  ///< RFC 9937: segments since then
  instant pacing_next{};          ///< no segment leaves earlier, if the rate is limited
  tcp_ecn_state ecn;
};

/// Round-trip time (RFC 6298) and what timers count.
struct tcp_rtt_vars {
  duration srtt{}, rttvar{}, rto = tcp_timeout_init;
  duration min_rtt{};
  instant min_rtt_stamp{};
  u8 backoff = 0;
  u8 retransmits = 0;             ///< timeouts since snd_una moved
  instant retrans_stamp{};        ///< first of them; zero: none
  instant syn_stamp{};            ///< when the first SYN left
  u8 probes_out = 0;
  instant probes_stamp{};
  bool probing = false;           ///< the retransmission timer is the persist timer
  tcp_rtx_event rtx_event = tcp_rtx_event::timeout;
  errc soft_error = errc::ok;
};

/// Receive sequence, what is reported of it, and the growth of the receive buffer.
struct tcp_receive_vars {
  seq32 irs, rcv_nxt, rcv_wup, copied_seq;
  seq32 last_ack_sent;            ///< RFC 7323 §4.3
  tcp_options_received rx;        ///< of the segment at hand
  u32 rcv_wnd = 0;                ///< window last offered, bytes, counted from rcv_wup
  u32 window_clamp = 0;           ///< largest to offer
  u32 rcv_ssthresh = 0;           ///< grown with proven good use of the buffer
  bool urg_seen = false;          ///< an urgent byte is ahead or unread
  bool urg_valid = false;         ///< urg_data holds it
  bool urg_read = false;          ///< and MSG_OOB took it
  u8 urg_data = 0;
  seq32 urg_seq;                  ///< where the urgent byte lies
  bool stream_done = false;       ///< the peer's FIN was taken: nothing more will come
  u8 num_sacks = 0;
  std::array<tcp_sack_block, tcp_max_sacks> selective_acks{};
  bool have_dsack = false;
  tcp_sack_block duplicate_sack{};
  u32 rcv_mss = uapi::tcp_mss_default;  ///< estimate of the peer's segment size
  seq32 rcvq_seq;
  u32 rcvq_space = 0;
  instant rcvq_time{};
  duration rcv_rtt{};
  seq32 rcv_rtt_seq;
  instant rcv_rtt_time{};
  u32 rcv_rtt_tsecr = 0;
};

/// When to acknowledge.
struct tcp_ack_vars {
  u8 quick = 0;                   ///< acknowledge at once that many times
  bool pingpong = false;          ///< interactive: delay
  bool ack_scheduled = false;     ///< an acknowledgement is owed
  bool ack_now = false;
  u8 ack_pushed = 0;              ///< small pushed segments since the last acknowledgement
  duration ato{};
  instant last_rcv{};
  instant last_challenge{};       ///< last reply to something out of window
  bool challenged = false;
};

/// TCPI_FASTOPEN_CLIENT_FAIL: why data of a SYN were not sent or not taken.
enum class tcp_fastopen_fail : u8 { none, cookie_unavailable, data_not_acked, syn_retransmitted };

/// Fast Open (tcp_fastopen), on either side of one connection.
struct tcp_fastopen_vars {
  bool defer_connect = false;     ///< connected in name only: the SYN waits for data
  bool syn_fastopen = false;      ///< our SYN carried the option
  bool syn_data_acked = false;    ///< the data of the SYN were taken
  tcp_fastopen_fail fastopen_fail = tcp_fastopen_fail::none;
  u32 syn_data = 0;               ///< bytes in our SYN
  tcp_fastopen_cookie fastopen_cookie;  ///< for the first SYN or SYN+ACK
  std::optional<std::size_t> fastopen_waiting;  ///< a call waits, so many of its bytes are queued
  bool write_waits = false;       ///< a writer waits for the connection
  bool fastopen_child = false;    ///< usable although in SYN-RECEIVED
  bool fastopen_born = false;     ///< began as such a child
};

/// Counters for TCP_INFO.
struct tcp_stats {
  u64 bytes_acked = 0, bytes_received = 0, bytes_sent = 0, bytes_retrans = 0;
  u32 segs_in = 0, segs_out = 0, data_segs_in = 0, data_segs_out = 0;
  u32 total_retrans = 0, dsack_dups = 0, rcv_ooopack = 0, reord_seen = 0;
  u32 delivered = 0;
  u16 total_rto = 0, total_rto_recoveries = 0;
  duration total_rto_time{};
  instant rto_stamp{};
  instant last_data_sent{}, last_ack_rcv{}, last_data_rcv{};
  instant neigh_confirmed{};  ///< last time that progress was told to the neighbour
  tcp_chrono chrono = tcp_chrono::idle;
  instant chrono_start{};
  duration chrono_total[4]{};
  // Delivery rate (tcp_rate).
  instant delivered_at{}, first_sent_at{};
  u64 app_limited = 0;
  u32 rate_delivered = 0;
  duration rate_interval{};
  bool rate_app_limited = false;
};

/// Everything that belongs to one connection and ends with it.
struct tcp_connection : tcp_send_vars,
                        tcp_size_vars,
                        tcp_recovery_vars,
                        tcp_rtt_vars,
                        tcp_receive_vars,
                        tcp_agreed_options,
                        tcp_ack_vars,
                        tcp_fastopen_vars,
                        tcp_stats {
  /// Nothing was sent yet, and the next to be sent is `next`.
  void send_from(seq32 next) {
    snd_una = snd_nxt = write_seq = pushed_seq = snd_sml = snd_up = next;
    recover = high_seq = lost_edge = retrans_hint = high_rxt = next;
    highest_sack = max_packets_seq = rack.fack = next;
  }
  /// Everything before `next` was received, acknowledged and read.
  void receive_from(seq32 next) {
    rcv_nxt = rcv_wup = copied_seq = last_ack_sent = urg_seq = snd_wl1 = next;
  }
};

/// How far the calls of the program got (Linux's socket_state).
enum class tcp_call_state : u8 {
  unconnected,
  connecting,  ///< connect() began and did not tell the outcome yet
  connected,   ///< it was told, or accept() gave the socket: connect() says EISCONN
};

class tcp_sock final : public inet_sock,
                       public ehash_entry,
                       public tcp_listener_entry,
                       public tcp_program_options,
                       public tcp_connection {
 public:
  tcp_sock(net_namespace& net, cpu& home, const inet_af_ops& af);
  ~tcp_sock() override;

  // The operations of sock, in tcp.cpp, tcp_connect.cpp and tcp_sockopt.cpp.
  result<void> bind(cpu& cx, byte_view addr) override;
  result<void> connect(cpu& cx, byte_view addr) override;
  result<void> listen(cpu& cx, int backlog) override;
  result<ref<sock>> accept(cpu& cx) override;
  result<std::size_t> sendmsg(cpu& cx, const send_msg& msg) override;
  result<std::size_t> recvmsg(cpu& cx, recv_msg& msg) override;
  u32 poll() override;
  result<void> shutdown(cpu& cx, u8 how) override;
  void close(cpu& cx) override;
  result<void> setsockopt(cpu& cx, int level, int name, byte_view value) override;
  result<std::size_t> getsockopt(cpu& cx, int level, int name, byte_span out) override;
  result<sockaddr_buf> getname(bool peer) override;
  result<sockaddr_buf> accepted_name() override { return af_ops->make_sockaddr(daddr, dport); }
  result<int> ioctl(cpu& cx, u32 command, byte_span arg) override;
  [[nodiscard]] result<u32> timestamp_base(bool next_write) const override;
  void option_changed(cpu& cx, int name) override;
  void write_space() override;

  [[nodiscard]] tcp_net& tcp() const { return tcp_of(net()); }
  /// The variables of a socket that has had no connection. The queues must be empty.
  void reset_connection();
  /// A child has the options of its listener.
  void inherit_options(const tcp_program_options& of) {
    static_cast<tcp_program_options&>(*this) = of;
  }
  /// Segments on their way, as far as known: `pipe` of RFC 6675.
  [[nodiscard]] u32 in_flight() const { return rtx_queue.in_flight(); }
  /// The handshake does not yet allow data.
  [[nodiscard]] bool opening() const {
    return state == tcp_state::syn_sent || (state == tcp_state::syn_recv && !fastopen_child);
  }
  [[nodiscard]] bool in_state(std::initializer_list<tcp_state> states) const {
    for (const tcp_state s : states) {
      if (state == s) return true;
    }
    return false;
  }

  tcp_state state = tcp_state::close;
  ref<tcp_sock> self;             ///< held while hashed: the connection keeps itself
  bool hashed_listen = false;

  // --- queues: purged, not assigned -----------------------------------------------------------
  skb_queue write_queue;          ///< not yet sent
  tcp_outstanding rtx_queue;      ///< sent, not yet acknowledged
  u32 wmem_queued = 0;            ///< truesize of both
  block_ref page;                 ///< being filled by sendmsg
  u32 page_offset = 0;
  tcp_skb_tree ofo_queue;
  congestion_holder ca;

  // --- timers ---------------------------------------------------------------------------------
  timer retransmit_timer;         ///< RTO or persist, see `probing`
  timer delack_timer;
  timer pacing_timer;             ///< the next segment may leave
  timer keepalive_timer;          ///< keepalive, or the end of FIN_WAIT2

  // --- of the socket, whatever its connection -------------------------------------------------
  tcp_call_state call = tcp_call_state::unconnected;
  bool port_held = false;         ///< sport is taken in tcp_net::ports
  bool orphaned = false;          ///< counted in tcp_net::orphans
  bool repair = false;            ///< TCP_REPAIR: nothing is sent, state may be written
  tcp_repair_queue repair_queue = tcp_repair_queue::none;
  bool fastopen_connect = false;  ///< TCP_FASTOPEN_CONNECT
  bool fastopen_no_cookie = false;  ///< TCP_FASTOPEN_NO_COOKIE
  u8 defer_accept = 0;            ///< retransmissions of SYN+ACK, TCP_DEFER_ACCEPT
  u32 user_window_clamp = 0;      ///< TCP_WINDOW_CLAMP, 0: none
  u32 mem_pages = 0;              ///< counted in tcp_net::memory
  std::unique_ptr<tcp_auth> auth;  ///< nullptr: segments are not signed

  // --- listener -------------------------------------------------------------------------------
  u32 max_ack_backlog = 0;
  u32 accepted_ahead = 0;  ///< accepted by who serves the program, not yet by the program
  intrusive_list<tcp_request, struct tcp_request_tag> requests;
  u32 request_count = 0;
  u32 young_requests = 0;         ///< of them: SYN+ACK sent once
  bool synq_overflowed = false;   ///< cookies were sent, last at synq_overflow
  instant synq_overflow{};
  std::list<ref<tcp_sock>> accept_queue;
  tcp_sock* listener = nullptr;   ///< child: whose accept queue it lies in
  u32 fastopen_qlen = 0;          ///< TCP_FASTOPEN
  u32 fastopen_pending = 0;       ///< children whose handshake is not over, and reset ones
  std::list<instant> fastopen_resets;  ///< until when reset ones count
  std::vector<siphash_key> fastopen_keys;  ///< TCP_FASTOPEN_KEY
  ref<tcp_sock> fastopen_parent;  ///< child: whose fastopen_pending counts it
};

/// Aborts when the variables contradict each other: sequence order, segment counts, queues.
void tcp_check_invariants(tcp_sock& tp);
#ifdef PH_DEBUG
inline void tcp_debug_invariants(tcp_sock& tp) { tcp_check_invariants(tp); }
#else
inline void tcp_debug_invariants(tcp_sock&) {}
#endif

// --- small questions --------------------------------------------------------------------------

/// Our timestamp clock: milliseconds, shifted by a secret per pair of hosts.
inline u32 tcp_time_stamp(const cpu& cx, const tcp_sock& tp) {
  return static_cast<u32>(cx.now().ms()) + tp.tsoffset;
}
/// End of the window that the peer lets us fill.
inline seq32 tcp_wnd_end(const tcp_sock& tp) { return tp.snd_una + tp.snd_wnd; }
/// What is left of the window we offered; the peer may fill that much.
inline u32 tcp_receive_window(const tcp_sock& tp) {
  const s32 win = tp.rcv_wup + tp.rcv_wnd - tp.rcv_nxt;
  return win < 0 ? 0 : static_cast<u32>(win);
}
/// Bytes of receive buffer still free, as payload.
inline u32 tcp_space(const tcp_sock& tp) {
  return tp.opt.rcvbuf <= tp.rmem_alloc ? 0 : tcp_win_from_space(tp.opt.rcvbuf - tp.rmem_alloc);
}
inline u32 tcp_full_space(const tcp_sock& tp) { return tcp_win_from_space(tp.opt.rcvbuf); }

// --- life (tcp.cpp) ---------------------------------------------------------------------------

void tcp_set_state(cpu& cx, tcp_sock& tp, tcp_state state);
/// The connection is over: out of the tables, timers off, waiters told. May destroy tp once the
/// caller's reference goes.
void tcp_done(cpu& cx, tcp_sock& tp);
/// As tcp_done with an error for the program.
void tcp_reset(cpu& cx, tcp_sock& tp, errc error);
/// Back to CLOSED as connect(AF_UNSPEC) does: the peer is told, addresses that bind gave stay.
void tcp_disconnect(cpu& cx, tcp_sock& tp);
/// Enters the established table under its tuple.
void tcp_hash(tcp_sock& tp);
void tcp_unhash(tcp_sock& tp);
/// Gives the local port back, if it is held.
void tcp_release_port(tcp_sock& tp);
/// What decides with whom it shares its port (inet_ports).
inet_port_kind tcp_port_kind(const tcp_sock& tp);
/// That, or the address, may have changed.
void tcp_port_moved(tcp_sock& tp);
/// The peer has heard us or goes on because it did: its link-layer address is right (RFC 4861
/// §7.3.1). Told once a second, which is often enough for every timer of a neighbour.
inline void tcp_confirm_neigh(cpu& cx, tcp_sock& tp) {
  if (cx.now() - tp.neigh_confirmed < seconds(1)) return;
  tp.neigh_confirmed = cx.now();
  tp.af_ops->confirm_neigh(cx, tp);
}
/// Throws away all unsent and unacknowledged data.
void tcp_write_queue_purge(cpu& cx, tcp_sock& tp);
/// First steps common to both ways into ESTABLISHED: buffers, MSS, congestion control.
void tcp_init_transfer(cpu& cx, tcp_sock& tp);
/// Room was made in the send buffer: tell the program if it waits.
void tcp_check_space(cpu& cx, tcp_sock& tp);
/// May the program queue more? `waking`: it is told only when half of TCP_NOTSENT_LOWAT is free.
[[nodiscard]] bool tcp_stream_memory_free(const tcp_sock& tp, bool waking = false);
/// Lets the send buffer hold two congestion windows, up to tcp_wmem[2].
void tcp_expand_sndbuf(tcp_sock& tp);
/// What holds the sender back begins (a worse one wins) or ends.
void tcp_chrono_start(cpu& cx, tcp_sock& tp, tcp_chrono kind);
void tcp_chrono_stop(cpu& cx, tcp_sock& tp, tcp_chrono kind);
/// Picks the congestion control of the namespace, or the first one known.
void tcp_assign_congestion_control(tcp_sock& tp);

}  // namespace ph
