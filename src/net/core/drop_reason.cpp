// The story of each drop reason: its name, a sentence for a person, and the counters that rise
// with it. Reassembly, receive-buffer and neighbour failures are counted per datagram or per
// event by those who find them, so their reasons raise nothing by themselves.
#include "net/core/drop_reason.h"

namespace ph {
namespace {

struct row {
  drop_reason reason;
  std::string_view name;
  std::string_view text;
  mib counter = mib::none;
  mib second = mib::none;
};

using dr = drop_reason;

constexpr std::array rows = {
    row{dr::none, "none", "Not dropped."},
    row{dr::unreasoned, "unreasoned", "Freed without a reason: a bug in the stack."},
    row{dr::queue_purge, "queue_purge", "The queue that held the packet was emptied."},
    row{dr::dev_down, "dev_down", "The interface is down."},
    row{dr::dev_gone, "dev_gone", "The interface was removed."},
    row{dr::bad_offload, "bad_offload",
        "What was left to the device (checksum, segmentation) contradicts the headers."},
    row{dr::fault_loss, "fault_loss", "Lost on the wire (simulated loss)."},
    row{dr::fault_corrupt, "fault_corrupt", "Damaged on the wire (simulated corruption)."},
    row{dr::link_queue_full, "link_queue_full", "The queue in front of the wire was full."},
    row{dr::ring_full, "ring_full", "The receive ring of the device was full."},
    row{dr::cpu_backlog, "cpu_backlog", "Too many packets waited for the cpu."},
    row{dr::host_write_failed, "host_write_failed", "The real machine refused the frame."},
    row{dr::frame_too_short, "frame_too_short", "Shorter than a link-layer header."},
    row{dr::frame_too_long, "frame_too_long", "Longer than the device's MTU allows."},
    row{dr::bad_vnet_header, "bad_vnet_header", "The virtio-net header contradicts the frame."},
    row{dr::other_host, "other_host", "Addressed to another host on the link."},
    row{dr::unhandled_proto, "unhandled_proto", "No protocol here handles this ethertype."},
    row{dr::arp_malformed, "arp_malformed", "Not a well-formed ARP message for this link."},
    row{dr::arp_not_for_us, "arp_not_for_us", "An ARP message about somebody else."},
    row{dr::neigh_failed, "neigh_failed", "The next hop did not answer address resolution."},
    row{dr::neigh_queuefull, "neigh_queuefull",
        "Too many packets waited for the next hop's address; the oldest was dropped."},
    row{dr::neigh_dead, "neigh_dead", "The neighbour entry was removed meanwhile."},
    row{dr::neigh_create_fail, "neigh_create_fail", "The neighbour table is full.",
        mib::ip_out_discards},
    row{dr::ip_pkt_too_small, "ip_pkt_too_small", "Too short for an IPv4 header.",
        mib::ip_in_hdr_errors},
    row{dr::ip_inhdr, "ip_inhdr", "The IP header is malformed.", mib::ip_in_hdr_errors},
    row{dr::ip_csum, "ip_csum", "The IP header checksum is wrong.", mib::ip_in_hdr_errors,
        mib::ipext_in_csum_errors},
    row{dr::ip_truncated, "ip_truncated", "Shorter than its IP total length says.",
        mib::ipext_in_truncated_pkts},
    row{dr::ip_inaddrerrors, "ip_inaddrerrors", "The address is not valid here.",
        mib::ip_in_addr_errors},
    row{dr::ip_innoroutes, "ip_innoroutes", "No route for a received packet.",
        mib::ipext_in_no_routes},
    row{dr::ip_rpfilter, "ip_rpfilter",
        "The way back to the source is by another interface (rp_filter)."},
    row{dr::ip_martian_source, "ip_martian_source",
        "The source address cannot be on this interface."},
    row{dr::ip_noproto, "ip_noproto", "No handler for this IP protocol.",
        mib::ip_in_unknown_protos},
    row{dr::ip_options_bad, "ip_options_bad", "The IP options are malformed.",
        mib::ip_in_hdr_errors},
    row{dr::ip_source_route, "ip_source_route", "Source-routed, which is not accepted."},
    row{dr::ip_forwarding_off, "ip_forwarding_off", "Not for us, and we are no router.",
        mib::ip_in_addr_errors},
    row{dr::ttl_expired, "ttl_expired", "The time to live ran out.", mib::ip_in_hdr_errors},
    row{dr::pkt_too_big, "pkt_too_big", "Larger than the path's MTU and must not be fragmented.",
        mib::ip_frag_fails},
    row{dr::ip_too_long, "ip_too_long", "Longer than an IPv4 packet can be.", mib::ip_frag_fails},
    row{dr::ip_outnoroutes, "ip_outnoroutes", "No route for a packet of ours.",
        mib::ip_out_no_routes},
    row{dr::blackhole_route, "blackhole_route", "A blackhole route swallowed it."},
    row{dr::prohibit_route, "prohibit_route", "A prohibit route forbids it."},
    row{dr::unreachable_route, "unreachable_route", "An unreachable route refuses it."},
    row{dr::dst_discard, "dst_discard", "It came back over lo, and nobody here joined the group."},
    row{dr::frag_failed, "frag_failed", "It could not be fragmented.", mib::ip_frag_fails},
    row{dr::frag_reasm_timeout, "frag_reasm_timeout", "Its other fragments never came."},
    row{dr::frag_overlap, "frag_overlap", "Fragments overlap (RFC 5722, RFC 8200 4.5)."},
    row{dr::frag_too_big, "frag_too_big", "The fragments add up to more than 65535 bytes."},
    row{dr::frag_memory, "frag_memory", "No memory left for reassembly."},
    row{dr::frag_bad, "frag_bad", "A fragment contradicts the others."},
    row{dr::frag_evicted, "frag_evicted", "Reassembly gave way to newer datagrams."},
    row{dr::icmp_csum, "icmp_csum", "The ICMP checksum is wrong.", mib::icmp_in_csum_errors,
        mib::icmp_in_errors},
    row{dr::icmp_malformed, "icmp_malformed", "The ICMP message is malformed.",
        mib::icmp_in_errors},
    row{dr::icmp_unknown_type, "icmp_unknown_type", "An ICMP type without a handler.",
        mib::icmp_in_errors},
    row{dr::icmp_echo_ignored, "icmp_echo_ignored", "Echo requests are ignored here."},
    row{dr::icmp_no_socket, "icmp_no_socket", "An ICMP answer nobody waits for."},
    row{dr::no_socket, "no_socket", "No socket for it."},
    row{dr::socket_rcvbuff, "socket_rcvbuff", "The socket's receive buffer is full."},
    row{dr::socket_closed, "socket_closed", "The socket was closed."},
    row{dr::udp_csum, "udp_csum", "The UDP checksum is wrong.", mib::udp_in_csum_errors,
        mib::udp_in_errors},
    row{dr::udp_malformed, "udp_malformed", "The UDP length contradicts the packet.",
        mib::udp_in_errors},
    row{dr::udp_no_port, "udp_no_port", "Nobody listens on this UDP port.", mib::udp_no_ports},
    row{dr::udplite_csum, "udplite_csum", "The UDP-Lite checksum is wrong or absent.",
        mib::udplite_in_csum_errors, mib::udplite_in_errors},
    row{dr::udplite_malformed, "udplite_malformed",
        "The UDP-Lite checksum coverage contradicts the packet.", mib::udplite_in_errors},
    row{dr::udplite_coverage, "udplite_coverage",
        "The socket wants more of the packet covered by its checksum.", mib::udplite_in_errors},
    row{dr::udplite_no_port, "udplite_no_port", "Nobody listens on this UDP-Lite port.",
        mib::udplite_no_ports},
    row{dr::tcp_csum, "tcp_csum", "The TCP checksum is wrong.", mib::tcp_in_csum_errors,
        mib::tcp_in_errs},
    row{dr::tcp_malformed, "tcp_malformed", "The TCP header is malformed.", mib::tcp_in_errs},
    row{dr::tcp_flags, "tcp_flags", "The TCP flags make no sense in this state."},
    row{dr::tcp_no_socket, "tcp_no_socket", "No TCP socket for it."},
    row{dr::tcp_old_data, "tcp_old_data", "All its data had arrived before."},
    row{dr::tcp_overwindow, "tcp_overwindow", "Its data lies beyond the receive window."},
    row{dr::tcp_invalid_sequence, "tcp_invalid_sequence",
        "Its sequence number is outside the window."},
    row{dr::tcp_old_sequence, "tcp_old_sequence", "Its sequence number is long past."},
    row{dr::tcp_paws, "tcp_paws", "Its timestamp is older than the last one (RFC 7323 5).",
        mib::tcpext_paws_estab},
    row{dr::tcp_invalid_ack, "tcp_invalid_ack", "Its acknowledgement is not acceptable."},
    row{dr::tcp_too_old_ack, "tcp_too_old_ack",
        "It acknowledges what is long past (RFC 5961 5.2)."},
    row{dr::tcp_ack_unsent_data, "tcp_ack_unsent_data", "It acknowledges what was never sent."},
    row{dr::tcp_reset, "tcp_reset", "A valid reset; its work is done."},
    row{dr::tcp_invalid_syn, "tcp_invalid_syn", "A SYN in a synchronised state (RFC 5961 4)."},
    row{dr::tcp_close, "tcp_close", "The connection is closed."},
    row{dr::tcp_listen_overflow, "tcp_listen_overflow", "The accept queue is full.",
        mib::tcpext_listen_overflows, mib::tcpext_listen_drops},
    row{dr::tcp_syn_queue_full, "tcp_syn_queue_full", "Too many half-open connections.",
        mib::tcpext_listen_drops},
    row{dr::tcp_ofo_merge, "tcp_ofo_merge", "Its data already waits out of order.",
        mib::tcpext_tcp_ofo_merge},
    row{dr::tcp_ofo_drop, "tcp_ofo_drop", "No memory to keep it out of order.",
        mib::tcpext_tcp_ofo_drop},
    row{dr::tcp_rcv_pruned, "tcp_rcv_pruned", "Pruned: the receive buffer is over its limit."},
    row{dr::tcp_zero_window, "tcp_zero_window", "Data against a window of zero.",
        mib::tcpext_tcp_zero_window_drop},
    row{dr::tcp_min_ttl, "tcp_min_ttl", "Its TTL is below IP_MINTTL (RFC 5082).",
        mib::tcpext_tcp_min_ttl_drop},
    row{dr::tcp_timewait, "tcp_timewait", "The connection is in TIME-WAIT; its work is done."},
    row{dr::tcp_request, "tcp_request", "Not acceptable for a half-open connection."},
    row{dr::tcp_fin_wait_data, "tcp_fin_wait_data",
        "Data for a connection nobody will read any more."},
    row{dr::tcp_md5_failure, "tcp_md5_failure", "The TCP-MD5 signature is wrong (RFC 2385).",
        mib::tcpext_tcp_md5_failure},
    row{dr::tcp_md5_not_found, "tcp_md5_not_found",
        "Unsigned, but a TCP-MD5 key is set for the peer (RFC 2385).",
        mib::tcpext_tcp_md5_not_found},
    row{dr::tcp_md5_unexpected, "tcp_md5_unexpected",
        "Signed by TCP-MD5, but no key is set for the peer.", mib::tcpext_tcp_md5_unexpected},
    row{dr::tcp_ao_not_found, "tcp_ao_not_found",
        "Unsigned, but TCP-AO is required for the peer (RFC 5925).", mib::tcpext_tcp_ao_required},
    row{dr::tcp_ao_unexpected, "tcp_ao_unexpected",
        "Signed by TCP-AO, but no key is set for the peer.", mib::tcpext_tcp_ao_key_not_found},
    row{dr::tcp_ao_key_not_found, "tcp_ao_key_not_found",
        "No TCP-AO key of the peer has this identifier.", mib::tcpext_tcp_ao_key_not_found},
    row{dr::tcp_ao_failure, "tcp_ao_failure", "The TCP-AO authentication code is wrong.",
        mib::tcpext_tcp_ao_bad},
    row{dr::qdisc_overlimit, "qdisc_overlimit", "The queue was at its limit."},
    row{dr::netfilter_drop, "netfilter_drop", "A netfilter rule dropped it."},
};

constexpr bool complete() {
  if (rows.size() != static_cast<std::size_t>(dr::count)) return false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (static_cast<std::size_t>(rows[i].reason) != i) return false;
    if (rows[i].name.empty() || rows[i].text.empty()) return false;
  }
  return true;
}
static_assert(complete(), "every reason has its row, in the order of the enumeration");
static_assert(static_cast<std::size_t>(dr::count) <= drop_counters);

constexpr row unknown{dr::none, "unknown", "No such reason."};

const row& row_of(drop_reason reason) {
  return reason < dr::count ? rows[static_cast<std::size_t>(reason)] : unknown;
}

}  // namespace

std::string_view drop_reason_name(drop_reason reason) { return row_of(reason).name; }
std::string_view drop_reason_text(drop_reason reason) { return row_of(reason).text; }
mib drop_reason_mib(drop_reason reason) { return row_of(reason).counter; }
mib drop_reason_second_mib(drop_reason reason) { return row_of(reason).second; }

}  // namespace ph
