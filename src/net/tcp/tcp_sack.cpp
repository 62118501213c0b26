// The scoreboard (RFC 2018, RFC 2883, RFC 6675 §4 Update()) and the blocks we report.
#include "net/tcp/tcp_sack.h"

#include <algorithm>

#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_rack.h"
#include "net/tcp/tcp_rate.h"
#include "net/tcp/tcp_undo.h"

namespace ph {
namespace {

/// RFC 2883 §4: the first block reports a duplicate when it lies before the acknowledgement number
/// or within the second block.
bool is_dsack(const tcp_options_received& rx, seq32 ack_seq) {
  const tcp_sack_block& first = rx.sacks[0];
  if (first.end_seq <= ack_seq) return true;
  if (rx.num_sacks < 2) return false;
  const tcp_sack_block& second = rx.sacks[1];
  return first.start_seq >= second.start_seq && first.end_seq <= second.end_seq;
}

bool plausible(const tcp_sock& tp, const tcp_sack_block& block) {
  return block.start_seq < block.end_seq && block.end_seq <= tp.snd_nxt &&
         block.end_seq > tp.snd_una;
}

void mark_sacked(cpu& cx, tcp_sock& tp, sk_buff& skb, tcp_ack_info& info) {
  const tcp_skb_cb& cb = tcp_cb(skb);
  tcp_rack_delivered(cx, tp, skb, info);
  if ((cb.sacked & skb_ever_retrans) == 0) {
    info.sack_rtt = cx.now() - cb.sent_at;
  } else {
    info.retrans_acked = true;
  }
  tp.rtx_queue.mark_sacked(skb);
  tp.delivered += cb.pcount;
  info.sacked_segs += cb.pcount;
  tp.highest_sack = seq_max(tp.highest_sack, cb.seq);
  tcp_rate_skb_delivered(tp, skb, info.rate);
}

/// Cuts a packet of several segments at the edges of [start, end); false: it is covered in part
/// only and cannot be cut.
bool cut_to_block(cpu& cx, tcp_sock& tp, sk_buff*& skb, seq32 start, seq32 end) {
  tcp_skb_cb* cb = &tcp_cb(*skb);
  if (cb->seq < start) {
    if (cb->pcount <= 1) return false;
    const u32 before = static_cast<u32>(start - cb->seq);
    const u32 cut = (before + cb->mss - 1) / cb->mss * cb->mss;
    if (cut >= skb->len()) return false;
    tcp_fragment(cx, tp, tcp_queue::rtx, *skb, cut, cb->mss);
    skb = tp.rtx_queue.next(*skb);
    cb = &tcp_cb(*skb);
  }
  if (cb->end_seq > end) {
    if (cb->pcount <= 1 || end <= cb->seq) return false;
    const u32 cut = static_cast<u32>(end - cb->seq) / cb->mss * cb->mss;
    if (cut == 0 || cut >= skb->len()) return false;  // only a FIN is left out
    tcp_fragment(cx, tp, tcp_queue::rtx, *skb, cut, cb->mss);
  }
  return true;
}

void mark_range(cpu& cx, tcp_sock& tp, seq32 start, seq32 end, tcp_ack_info& info) {
  sk_buff* skb = tp.rtx_queue.find(start);
  while (skb != nullptr && tcp_cb(*skb).seq < end) {
    if ((tcp_cb(*skb).sacked & skb_sacked) == 0 && cut_to_block(cx, tp, skb, start, end)) {
      mark_sacked(cx, tp, *skb, info);
    }
    skb = tp.rtx_queue.next(*skb);
  }
}

/// The part of a block that no earlier acknowledgement reported in the same shape.
tcp_sack_block news_of(const tcp_sock& tp, tcp_sack_block block) {
  block.start_seq = seq_max(block.start_seq, tp.snd_una);
  for (const tcp_sack_block& seen : tp.sack_cache) {
    if (seen.start_seq == seen.end_seq) continue;
    if (seen.start_seq <= block.start_seq && block.start_seq < seen.end_seq) {
      block.start_seq = seq_min(seen.end_seq, block.end_seq);
    }
  }
  return block;
}

/// RFC 2883 §4: only what was sent and is not long past says anything.
void take_dsack(cpu& cx, tcp_sock& tp, const tcp_seg& seg, tcp_ack_info& info) {
  const tcp_sack_block& block = tp.rx.sacks[0];
  if (block.start_seq >= block.end_seq || block.end_seq > tp.snd_nxt ||
      block.start_seq < tp.snd_una - std::max(tp.max_window, u32{1} << 16)) {
    cx.sometimes("tcp_dsack_discarded");
    tp.net().mib().add(cx, mib::tcpext_tcp_sack_discard);
    return;
  }
  cx.sometimes("tcp_dsack_received");
  const u32 bytes = static_cast<u32>(block.end_seq - block.start_seq);
  const u32 segs = (bytes + tp.mss_cache - 1) / tp.mss_cache;
  mib_table& mibs = tp.net().mib();
  mibs.add(cx, block.end_seq <= seg.ack_seq ? mib::tcpext_tcp_dsack_recv
                                            : mib::tcpext_tcp_dsack_ofo_recv);
  mibs.add(cx, mib::tcpext_tcp_dsack_recv_segs, segs);
  tp.dsack_dups += segs;
  // More duplicates than we made: the network makes them, and they tell nothing.
  if (tp.dsack_dups > tp.total_retrans) return;
  info.dsack = true;
  info.tlp_dsack = tp.tlp.end_seq && tp.tlp.is_retrans && block.end_seq == *tp.tlp.end_seq;
  tcp_undo_duplicate(tp, block.end_seq, segs);
}

}  // namespace

void tcp_sacktag_write_queue(cpu& cx, tcp_sock& tp, const tcp_seg& seg, tcp_ack_info& info) {
  const tcp_options_received& rx = tp.rx;
  u8 first = 0;
  if (is_dsack(rx, seg.ack_seq)) {
    first = 1;
    take_dsack(cx, tp, seg, info);
  }
  std::array<tcp_sack_block, tcp_max_sacks> cache{};
  for (u8 i = first; i < rx.num_sacks; ++i) {
    const tcp_sack_block& block = rx.sacks[i];
    if (!plausible(tp, block)) {
      if (block.end_seq > tp.snd_nxt || block.start_seq >= block.end_seq) {
        cx.sometimes("tcp_sack_discarded");
        tp.net().mib().add(cx, mib::tcpext_tcp_sack_discard);
      }
      continue;
    }
    const tcp_sack_block fresh = news_of(tp, block);
    if (fresh.start_seq < fresh.end_seq) {
      mark_range(cx, tp, fresh.start_seq, fresh.end_seq, info);
    }
    cache[i] = block;
  }
  tp.sack_cache = cache;
}

std::size_t tcp_sack_blocks_that_fit(std::size_t room, std::size_t blocks) {
  if (room < tcpolen_sack_base_aligned) return 0;
  return std::min(blocks, (room - tcpolen_sack_base_aligned) / tcpolen_sack_perblock);
}

void tcp_sack_options(const tcp_sock& tp, tcp_out_options& out) {
  const std::size_t most = tcp_sack_blocks_that_fit(tcp_option_room_left(tp, out), tcp_max_sacks);
  std::size_t n = 0;
  if (tp.have_dsack && most != 0) out.sacks[n++] = tp.duplicate_sack;
  for (std::size_t i = 0; i < tp.num_sacks && n < most; ++i) out.sacks[n++] = tp.selective_acks[i];
  out.num_sacks = static_cast<u8>(n);
}

void tcp_sack_new_ofo(tcp_sock& tp, seq32 seq, seq32 end) {
  tcp_sack_block merged{seq, end};
  std::array<tcp_sack_block, tcp_max_sacks> kept{};
  std::size_t n = 0;
  for (std::size_t i = 0; i < tp.num_sacks; ++i) {
    const tcp_sack_block& b = tp.selective_acks[i];
    if (b.start_seq <= merged.end_seq && merged.start_seq <= b.end_seq) {
      merged.start_seq = seq_min(merged.start_seq, b.start_seq);
      merged.end_seq = seq_max(merged.end_seq, b.end_seq);
    } else {
      kept[n++] = b;
    }
  }
  // RFC 2018 §4: the block of the segment that caused this acknowledgement comes first, the ones
  // reported most recently follow.
  tp.selective_acks[0] = merged;
  tp.num_sacks = 1;
  for (std::size_t i = 0; i < n && tp.num_sacks < tcp_max_sacks; ++i) {
    tp.selective_acks[tp.num_sacks++] = kept[i];
  }
}

void tcp_sack_remove(tcp_sock& tp) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < tp.num_sacks; ++i) {
    if (tp.selective_acks[i].end_seq > tp.rcv_nxt) tp.selective_acks[n++] = tp.selective_acks[i];
  }
  tp.num_sacks = tp.ofo_queue.empty() ? u8{0} : static_cast<u8>(n);
}

void tcp_dsack_set(cpu& cx, tcp_sock& tp, seq32 seq, seq32 end, bool ofo) {
  if (!tp.sack_ok || tp.tcp().sysctl.dsack == 0 || !(seq < end)) return;
  tp.net().mib().add(cx, ofo ? mib::tcpext_tcp_dsack_ofo_sent : mib::tcpext_tcp_dsack_old_sent);
  tp.have_dsack = true;
  tp.duplicate_sack = {seq, end};
}

void tcp_dsack_extend(cpu& cx, tcp_sock& tp, seq32 seq, seq32 end) {
  if (!tp.have_dsack) {
    tcp_dsack_set(cx, tp, seq, end, true);
    return;
  }
  tcp_sack_block& block = tp.duplicate_sack;
  if (seq > block.end_seq || block.start_seq > end) return;
  block.start_seq = seq_min(block.start_seq, seq);
  block.end_seq = seq_max(block.end_seq, end);
}

}  // namespace ph
