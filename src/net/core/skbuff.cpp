// Packet buffers: geometry, sharing, fragments, checksums, and the two ways to end.
#include "net/core/skbuff.h"

#include <algorithm>

#include "kernel/kernel.h"
#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "wire/udp.h"

namespace ph {

static_assert(sizeof(sk_buff) <= packet_memory::descriptor_bytes);

skb_ptr alloc_skb(cpu& cx, u32 bytes) {
  block_ref head = cx.memory().allocate_block(bytes);
  const u32 truesize = static_cast<u32>(sizeof(sk_buff)) + head->capacity;
  auto* skb = ::new (cx.memory().allocate_descriptor()) sk_buff(std::move(head));
  skb->truesize = truesize;
  return skb_ptr(skb);
}

void kfree_skb(sk_buff* skb) {
  if (skb->destructor != nullptr) skb->destructor(*skb);
  packet_memory& memory = *skb->head_->home;
  skb->~sk_buff();
  memory.release_descriptor(skb);
}

void skb_ptr::free_unreasoned() {
  sk_buff* skb = release();
  skb->head_->home->count_unreasoned();
  if (skb->dev != nullptr) {
    skb->dev->net().machine().boot_cpu().drops.add(drop_reason::unreasoned);
  }
  kfree_skb(skb);
}

// --- geometry ---------------------------------------------------------------------------------

void sk_buff::reserve(u32 n) {
  ph_check(len() == 0 && n <= end() - tail_);
  data_ += n;
  tail_ += n;
}

byte_span sk_buff::put(u32 n) {
  ph_check(n <= tailroom() && !cloned());
  const u32 at = tail_;
  tail_ += n;
  return {head_->bytes() + at, n};
}

void sk_buff::put_bytes(byte_view bytes) {
  copy_bytes(put(static_cast<u32>(bytes.size())), bytes);
}

byte_span sk_buff::push(u32 n) {
  ph_check(n <= headroom() && !cloned());
  data_ -= n;
  return {head_->bytes() + data_, n};
}

void sk_buff::pull(u32 n) {
  ph_check(n <= headlen());
  data_ += n;
}

bool sk_buff::may_pull(cpu& cx, u32 n) {
  if (n <= headlen()) return true;
  if (n > len()) return false;
  const u32 missing = n - headlen();
  const u32 keep_headroom = headroom();
  if (cloned() || end() - tail_ < missing) expand_head(cx, keep_headroom, missing);
  const u32 old_headlen = headlen();
  ph_check(copy_bits(old_headlen, {head_->bytes() + tail_, missing}));
  tail_ += missing;
  // The copied bytes leave the front of the fragments.
  u32 left = missing;
  std::size_t gone = 0;
  while (left != 0) {
    skb_frag& f = frags_[gone];
    const u32 take = std::min(left, f.len);
    f.offset += take;
    f.len -= take;
    left -= take;
    if (f.len == 0) ++gone;
  }
  std::move(frags_.begin() + static_cast<std::ptrdiff_t>(gone), frags_.begin() + nr_frags_,
            frags_.begin());
  data_len_ -= missing;
  drop_frags_from(nr_frags_ - gone);
  return true;
}

void sk_buff::drop_frags_from(std::size_t first) {
  for (std::size_t i = first; i < nr_frags_; ++i) frags_[i] = {};
  nr_frags_ = static_cast<u8>(std::min<std::size_t>(first, nr_frags_));
}

void sk_buff::trim(u32 n) {
  if (n >= len()) return;
  if (n <= headlen()) {
    tail_ = data_ + n;
    data_len_ = 0;
    drop_frags_from(0);
    return;
  }
  u32 left = n - headlen();
  data_len_ = left;
  for (std::size_t i = 0; i < nr_frags_; ++i) {
    if (left == 0) {
      drop_frags_from(i);
      return;
    }
    frags_[i].len = std::min(frags_[i].len, left);
    left -= frags_[i].len;
  }
}

void sk_buff::pull_any(u32 n) {
  ph_check(n <= len());
  const u32 linear = std::min(n, headlen());
  data_ += linear;
  n -= linear;
  data_len_ -= n;
  std::size_t gone = 0;
  while (n != 0) {
    skb_frag& f = frags_[gone];
    const u32 take = std::min(n, f.len);
    f.offset += take;
    f.len -= take;
    n -= take;
    if (f.len == 0) ++gone;
  }
  if (gone != 0) {
    std::move(frags_.begin() + static_cast<std::ptrdiff_t>(gone), frags_.begin() + nr_frags_,
              frags_.begin());
    drop_frags_from(nr_frags_ - gone);
  }
}

void sk_buff::expand_head(cpu& cx, u32 headroom_bytes, u32 tailroom_bytes) {
  const u32 keep = headlen();
  // Headers before data stay: nothing in front of the new headroom survives otherwise.
  const u32 old_room = headroom();
  const u32 room = std::max(headroom_bytes, old_room);
  block_ref fresh = cx.memory().allocate_block(std::size_t{room} + keep + tailroom_bytes);
  std::memcpy(fresh->bytes() + (room - old_room), head_->bytes(), old_room + keep);
  const s32 shift = static_cast<s32>(room - old_room);
  const auto moved = [shift](u16 at) { return at == unset ? unset : static_cast<u16>(at + shift); };
  mac_header_ = moved(mac_header_);
  network_header_ = moved(network_header_);
  transport_header_ = moved(transport_header_);
  csum_start = static_cast<u16>(csum_start + shift);
  head_ = std::move(fresh);
  data_ = room;
  tail_ = room + keep;
}

void sk_buff::linearize(cpu& cx) {
  if (is_nonlinear()) ph_check(may_pull(cx, len()));
}

// --- fragments --------------------------------------------------------------------------------

bool sk_buff::add_frag(block_ref block, u32 offset, u32 n) {
  ph_check(offset <= block->capacity && n <= block->capacity - offset);
  if (n == 0) return true;
  if (nr_frags_ != 0) {
    skb_frag& last = frags_[nr_frags_ - 1u];
    if (last.block.get() == block.get() && last.offset + last.len == offset) {
      last.len += n;
      data_len_ += n;
      return true;
    }
  }
  if (nr_frags_ == max_skb_frags) return false;
  frags_[nr_frags_++] = skb_frag{std::move(block), offset, n};
  data_len_ += n;
  return true;
}

bool sk_buff::append_from(sk_buff& from) {
  const std::size_t extra = (from.headlen() != 0 ? 1u : 0u) + from.nr_frags_;
  if (nr_frags_ + extra > max_skb_frags) return false;
  if (from.headlen() != 0) ph_check(add_frag(from.head_, from.data_, from.headlen()));
  for (std::size_t i = 0; i < from.nr_frags_; ++i) {
    ph_check(add_frag(std::move(from.frags_[i].block), from.frags_[i].offset, from.frags_[i].len));
  }
  from.nr_frags_ = 0;
  from.data_len_ = 0;
  from.tail_ = from.data_;
  return true;
}

void sk_buff::share_range(cpu& cx, const sk_buff& from, u32 offset, u32 n) {
  ph_check(offset <= from.len() && n <= from.len() - offset);
  const auto attach = [&](const block_ref& block, u32 at, u32 bytes) {
    if (add_frag(block, at, bytes)) return;
    linearize(cx);  // 17 pieces already: fold them into one block
    ph_check(add_frag(block, at, bytes));
  };
  if (offset < from.headlen() && n != 0) {
    const u32 take = std::min(n, from.headlen() - offset);
    attach(from.head_, from.data_ + offset, take);
    offset += take;
    n -= take;
  }
  u32 skip = offset - std::min(offset, from.headlen());
  for (std::size_t i = 0; i < from.nr_frags_ && n != 0; ++i) {
    const skb_frag& f = from.frags_[i];
    if (skip >= f.len) {
      skip -= f.len;
      continue;
    }
    const u32 take = std::min(n, f.len - skip);
    attach(f.block, f.offset + skip, take);
    n -= take;
    skip = 0;
  }
}

void sk_buff::split(cpu& cx, sk_buff& rest, u32 at) {
  ph_check(at <= len() && rest.len() == 0);
  constexpr u32 copy_break = 256;  // below it, a copy costs less than sharing the head
  u32 from = at;
  if (at < headlen() && headlen() - at <= std::min(copy_break, rest.tailroom())) {
    rest.put_bytes(data().subspan(at));
    from = headlen();
  }
  rest.share_range(cx, *this, from, len() - from);
  trim(at);
}

// --- reading ----------------------------------------------------------------------------------

bool sk_buff::copy_bits(u32 offset, byte_span to) const {
  if (offset > len() || to.size() > len() - offset) return false;
  for_pieces(offset, static_cast<u32>(to.size()), [&](byte_view piece) {
    copy_bytes(to, piece);
    to = to.subspan(piece.size());
  });
  return true;
}

csum_partial sk_buff::checksum(u32 offset, u32 n, csum_partial initial) const {
  std::size_t done = 0;
  for_pieces(offset, n, [&](byte_view piece) {
    initial = csum_block_add(initial, csum_add_bytes(piece), done);
    done += piece.size();
  });
  return initial;
}

// --- sharing ----------------------------------------------------------------------------------

skb_ptr skb_clone(cpu& cx, const sk_buff& skb) {
  auto* out = ::new (cx.memory().allocate_descriptor()) sk_buff(skb.head_);
  out->dev = skb.dev;
  out->dst = skb.dst;
  out->journey = skb.journey;
  out->tstamp = skb.tstamp;
  out->protocol = skb.protocol;
  out->pkt_type = skb.pkt_type;
  out->ip_summed = skb.ip_summed;
  out->csum = skb.csum;
  out->csum_start = skb.csum_start;
  out->csum_offset = skb.csum_offset;
  out->gso_size = skb.gso_size;
  out->gso_segs = skb.gso_segs;
  out->gso_type = skb.gso_type;
  out->tc_class = skb.tc_class;
  out->ignore_df = skb.ignore_df;
  out->encapsulated = skb.encapsulated;
  out->hash = skb.hash;
  out->mark = skb.mark;
  out->priority = skb.priority;
  out->skb_iif = skb.skb_iif;
  out->queue_mapping = skb.queue_mapping;
  out->vlan_tci = skb.vlan_tci;
  out->vlan_proto = skb.vlan_proto;
  out->frag_max_size = skb.frag_max_size;
  out->truesize = skb.truesize;
  out->data_ = skb.data_;
  out->tail_ = skb.tail_;
  out->data_len_ = skb.data_len_;
  out->mac_header_ = skb.mac_header_;
  out->network_header_ = skb.network_header_;
  out->transport_header_ = skb.transport_header_;
  out->nr_frags_ = skb.nr_frags_;
  for (std::size_t i = 0; i < skb.nr_frags_; ++i) out->frags_[i] = skb.frags_[i];
  out->cb_owner_ = skb.cb_owner_;
  std::memcpy(out->cb_, skb.cb_, sk_buff::cb_bytes);
  return skb_ptr(out);
}

skb_ptr skb_copy(cpu& cx, const sk_buff& skb, u32 headroom) {
  skb_ptr out = skb_clone(cx, skb);
  // Offsets of headers are kept relative to data; the fresh block has the asked headroom.
  out->expand_head(cx, std::max(headroom, skb.headroom()), skb.data_len());
  out->linearize(cx);
  return out;
}

void skb_scrub_packet(sk_buff& skb) {
  skb_orphan(skb);
  skb.dst.reset();
  skb.dev = nullptr;
  skb.mark = 0;
  skb.priority = 0;
  skb.skb_iif = 0;
  skb.hash = 0;
  skb.queue_mapping = 0;
  skb.ignore_df = false;
  skb.pkt_type = packet_type_for::host;
  skb.tstamp = {};
  skb.tx_flags = 0;
}

result<void> skb_checksum_help(cpu& cx, sk_buff& skb) {
  if (skb.ip_summed != checksum_state::partial) return {};
  skb.unshare_head(cx);
  const s64 start = s64{skb.csum_start} - static_cast<s64>(skb.headroom());
  if (start < 0 || start + skb.csum_offset + 2 > skb.headlen()) return fail(errc::inval);
  const u32 at = static_cast<u32>(start);
  const be16 check = csum_fold(skb.checksum(at, skb.len() - at));
  // Where zero means "none", UDP (RFC 768), a computed zero is sent as all ones; elsewhere it is
  // the right value, and all ones, though the same number, is one that no sum yields (RFC 1624).
  const bool udp = skb.csum_offset == offsetof(udphdr, check);
  const be16 stored = udp && check == be16(0) ? be16(0xffff) : check;
  copy_bytes(skb.writable().subspan(at + skb.csum_offset), bytes_of(stored));
  skb.ip_summed = checksum_state::none;
  return {};
}

// --- the end ----------------------------------------------------------------------------------

void trace_packet(cpu& cx, const sk_buff& skb, trace_kind kind, std::string_view where,
                  skb_drop_reason why) {
  trace_event event;
  event.when = cx.now();
  event.journey = skb.journey;
  event.host = cx.machine().name();
  event.cpu = cx.id().value;
  event.kind = kind;
  event.where = where;
  if (skb.dev != nullptr) event.device = skb.dev->name();
  if (why != drop_reason::none) event.reason = why.name();
  event.len = skb.len();
  cx.trace().record(event, skb.data());
}

void consume(cpu& cx, skb_ptr skb) {
  if (!skb) return;
  if (skb->journey != 0) trace_packet(cx, *skb, trace_kind::consumed, "consume");
  kfree_skb(skb.release());
}

void drop(cpu& cx, skb_ptr skb, skb_drop_reason why) {
  if (!skb) return;
  cx.drops.add(why.info());
  if (skb->dev != nullptr) {
    mib_table& counters = skb->dev->net().mib();
    counters.add(cx, why.info().counter());
    counters.add(cx, why.info().second());
  }
  if (skb->journey != 0) trace_packet(cx, *skb, trace_kind::dropped, "drop", why);
  kfree_skb(skb.release());
}

}  // namespace ph
