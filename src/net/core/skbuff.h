// sk_buff: one packet on its way. Linear bytes with room before and behind, page fragments for
// bulk data, offsets of the headers, and small typed groups of metadata.
//
//   head        data                    tail        end
//    |  headroom  |  linear bytes (headlen) | tailroom |    frags[0..n): the other data_len bytes
//
// Whoever holds the skb_ptr owns the packet: passing it by value gives it away. A packet ends by
// consume() or by drop() with a reason; nothing else. Linear data may be shared by clones: write
// only after skb_unshare_head(); fragments are never written once attached.
#pragma once

#include <array>
#include <cstddef>

#include "base/bytes.h"
#include "base/intrusive.h"
#include "base/name_id.h"
#include "base/result.h"
#include "base/time.h"
#include "kernel/cpu.h"
#include "net/core/core_drop_reasons.h"
#include "net/core/dst.h"
#include "wire/checksum.h"

namespace ph {

class sk_buff;

/// Sole owner of a packet. Letting one die without consume() or drop() frees it and counts
/// drop_reason::unreasoned, which tests require to be zero.
class skb_ptr {
 public:
  constexpr skb_ptr() = default;
  constexpr skb_ptr(std::nullptr_t) {}
  explicit skb_ptr(sk_buff* adopted) : skb_(adopted) {}
  skb_ptr(skb_ptr&& o) noexcept : skb_(std::exchange(o.skb_, nullptr)) {}
  skb_ptr& operator=(skb_ptr&& o) noexcept {
    std::swap(skb_, o.skb_);
    return *this;
  }
  ~skb_ptr() {
    if (skb_ != nullptr) free_unreasoned();
  }
  [[nodiscard]] sk_buff* get() const { return skb_; }
  sk_buff& operator*() const { return *skb_; }
  sk_buff* operator->() const { return skb_; }
  explicit operator bool() const { return skb_ != nullptr; }
  /// Gives up ownership to an intrusive container.
  [[nodiscard]] sk_buff* release() { return std::exchange(skb_, nullptr); }

 private:
  void free_unreasoned();
  sk_buff* skb_ = nullptr;
};

/// How far the checksum is verified (rx) or left to the device (tx): include/linux/skbuff.h's
/// CHECKSUM_* with the same meaning.
enum class checksum_state : u8 { none, unnecessary, complete, partial };
/// To whom a frame was addressed (PACKET_* of uapi/packet.h, same values).
enum class packet_type_for : u8 { host, broadcast, multicast, otherhost, outgoing };

/// Who owns the control block at the moment; each layer that uses it declares a struct with
/// `static constexpr cb_owner owner{"tcp"}`.
struct cb_owner {
  constexpr cb_owner() = default;
  constexpr explicit cb_owner(std::string_view name) : id(static_cast<u32>(name_id(name))) {}
  friend bool operator==(cb_owner, cb_owner) = default;
  u32 id = 0;  ///< 0: nobody
};

struct skb_frag {
  block_ref block;
  u32 offset = 0;  ///< into block->bytes()
  u32 len = 0;
  [[nodiscard]] byte_view bytes() const { return {block->bytes() + offset, len}; }
};

inline constexpr std::size_t max_skb_frags = 17;

/// sk_buff::tx_flags: what its socket wants to be told (SO_TIMESTAMPING).
enum skb_tx_flags : u8 { skb_tx_sched = 1, skb_tx_software = 2, skb_tx_ack = 4 };

enum gso_flags : u8 { gso_none = 0, gso_tcpv4 = 1, gso_tcpv6 = 2, gso_udp_l4 = 4, gso_ecn = 8,
                     gso_accecn = 16 };

class sk_buff : public list_hook<struct skb_list_tag>, public tree_hook<struct skb_tree_tag> {
 public:
  static constexpr u16 unset = 0xffff;

  // --- geometry -------------------------------------------------------------------------------
  [[nodiscard]] u32 len() const { return headlen() + data_len_; }
  [[nodiscard]] u32 headlen() const { return tail_ - data_; }
  [[nodiscard]] u32 data_len() const { return data_len_; }
  [[nodiscard]] u32 headroom() const { return data_; }
  [[nodiscard]] u32 tailroom() const { return data_len_ != 0 ? 0 : end() - tail_; }
  [[nodiscard]] bool is_nonlinear() const { return data_len_ != 0; }
  [[nodiscard]] bool cloned() const { return !head_.unique(); }
  /// The linear bytes.
  [[nodiscard]] byte_view data() const { return {head_->bytes() + data_, headlen()}; }
  /// The linear bytes, to write; not while shared.
  [[nodiscard]] byte_span writable() {
    ph_debug_check(!cloned());
    return {head_->bytes() + data_, headlen()};
  }

  /// Moves data and tail of an empty packet forward: headroom.
  void reserve(u32 n);
  /// Appends n linear bytes (unspecified) and returns them. Needs tailroom.
  byte_span put(u32 n);
  void put_bytes(byte_view bytes);
  /// Prepends n bytes. Needs headroom and an unshared head.
  byte_span push(u32 n);
  /// Drops n bytes off the front; they must be linear (may_pull first).
  void pull(u32 n);
  /// Makes the first n bytes linear; false if the packet is shorter. May move data.
  [[nodiscard]] bool may_pull(cpu& cx, u32 n);
  /// Cuts the packet to n bytes (linear and fragments); no-op when shorter.
  void trim(u32 n);
  /// Drops n bytes off the front wherever they lie.
  void pull_any(u32 n);
  /// Makes the linear part private with at least this much head and tail room.
  void expand_head(cpu& cx, u32 headroom_bytes, u32 tailroom_bytes);
  /// Ensures a private head with at least n bytes of headroom (skb_cow_head).
  void cow_head(cpu& cx, u32 n) {
    if (cloned() || headroom() < n) expand_head(cx, n, 0);
  }
  /// Makes the linear part private, keeping the room it has.
  void unshare_head(cpu& cx) {
    if (cloned()) expand_head(cx, headroom(), end() - tail_);
  }
  /// All bytes in one linear block.
  void linearize(cpu& cx);

  // --- fragments ------------------------------------------------------------------------------
  [[nodiscard]] std::size_t nr_frags() const { return nr_frags_; }
  [[nodiscard]] const skb_frag& frag(std::size_t i) const { return frags_[i]; }
  /// Attaches a piece of a block; merges with the last fragment when adjacent. False when full.
  bool add_frag(block_ref block, u32 offset, u32 len);
  /// Moves all data of `from` behind ours without copying (its linear bytes become a fragment).
  /// False (nothing moved) when there are too many fragments.
  bool append_from(sk_buff& from);
  /// Attaches bytes [offset, offset + n) of `from` behind ours, sharing its blocks; what does
  /// not fit in fragments is copied.
  void share_range(cpu& cx, const sk_buff& from, u32 offset, u32 n);
  /// Moves the bytes from `at` on into `rest` (an empty packet), sharing blocks where it can.
  void split(cpu& cx, sk_buff& rest, u32 at);

  // --- reading --------------------------------------------------------------------------------
  /// Copies bytes [offset, offset + to.size()) out; false when the packet is shorter.
  [[nodiscard]] bool copy_bits(u32 offset, byte_span to) const;
  /// Sum of bytes [offset, offset + n), added to initial.
  [[nodiscard]] csum_partial checksum(u32 offset, u32 n, csum_partial initial = {}) const;
  /// f(byte_view piece) for the pieces of [offset, offset + n).
  template <class F>
  void for_pieces(u32 offset, u32 n, F&& f) const;

  // --- headers (offsets from head, so that push/pull do not move them) ------------------------
  void set_mac_header(u32 from_data = 0) { mac_header_ = off(from_data); }
  void set_network_header(u32 from_data = 0) { network_header_ = off(from_data); }
  void set_transport_header(u32 from_data = 0) { transport_header_ = off(from_data); }
  [[nodiscard]] bool has_mac_header() const { return mac_header_ != unset; }
  [[nodiscard]] bool has_network_header() const { return network_header_ != unset; }
  [[nodiscard]] bool has_transport_header() const { return transport_header_ != unset; }
  void unset_headers() { mac_header_ = network_header_ = transport_header_ = unset; }
  /// Offset of a header relative to data (negative once pulled).
  [[nodiscard]] s32 network_offset() const {
    return s32{network_header_} - static_cast<s32>(data_);
  }
  [[nodiscard]] s32 transport_offset() const {
    return s32{transport_header_} - static_cast<s32>(data_);
  }
  [[nodiscard]] s32 mac_offset() const { return s32{mac_header_} - static_cast<s32>(data_); }
  /// The header as T; the bytes must lie in the linear part (checked).
  template <overlay T>
  [[nodiscard]] const T& mac_header() const { return header<T>(mac_header_); }
  template <overlay T>
  [[nodiscard]] const T& network_header() const { return header<T>(network_header_); }
  template <overlay T>
  [[nodiscard]] const T& transport_header() const { return header<T>(transport_header_); }
  /// The same, to write; not while shared.
  template <overlay T>
  [[nodiscard]] T& network_header_mut() { return header_mut<T>(network_header_); }
  template <overlay T>
  [[nodiscard]] T& transport_header_mut() { return header_mut<T>(transport_header_); }
  template <overlay T>
  [[nodiscard]] T& mac_header_mut() { return header_mut<T>(mac_header_); }
  /// Linear bytes from a header to the tail.
  [[nodiscard]] byte_view network_bytes() const { return from(network_header_); }
  [[nodiscard]] byte_view transport_bytes() const { return from(transport_header_); }
  [[nodiscard]] byte_view mac_bytes() const { return from(mac_header_); }

  // --- control block --------------------------------------------------------------------------
  /// Starts a fresh control block of type T.
  template <class T>
  T& init_cb() {
    static_assert(sizeof(T) <= cb_bytes && std::is_trivially_copyable_v<T>);
    cb_owner_ = T::owner;
    return *::new (static_cast<void*>(cb_)) T{};
  }
  /// The control block, which must be T's at the moment.
  template <class T>
  [[nodiscard]] T& cb() {
    ph_debug_check(cb_owner_ == T::owner);
    return *std::launder(reinterpret_cast<T*>(cb_));
  }
  template <class T>
  [[nodiscard]] const T& cb() const { return const_cast<sk_buff*>(this)->cb<T>(); }
  [[nodiscard]] cb_owner cb_owned_by() const { return cb_owner_; }

  // --- metadata -------------------------------------------------------------------------------
  net_device* dev = nullptr;     ///< arrived on / leaves by
  ref<dst_entry> dst;
  sock* sk = nullptr;            ///< who pays for it; see set_owner in net/core/sock.h
  void (*destructor)(sk_buff&) = nullptr;  ///< gives the memory back to sk
  u64 journey = 0;               ///< 0: nobody watches
  instant tstamp{};              ///< rx: arrival; tx: earliest departure
  u16 protocol = 0;              ///< ethertype, host order
  packet_type_for pkt_type = packet_type_for::host;
  checksum_state ip_summed = checksum_state::none;
  csum_partial csum;             ///< complete: sum over data
  u16 csum_start = 0;            ///< partial: offset from head where summing begins
  u16 csum_offset = 0;           ///< partial: where in that range the result goes
  u16 gso_size = 0;              ///< payload bytes per segment, 0: not a super-packet
  u16 gso_segs = 0;
  u8 gso_type = gso_none;
  u8 tc_class = 0;
  u8 tx_flags = 0;               ///< skb_tx_flags
  bool ignore_df = false;        ///< may be fragmented locally although DF is set
  bool encapsulated = false;
  u32 hash = 0;                  ///< flow hash, 0: not computed
  u32 mark = 0;
  u32 priority = 0;
  u32 tskey = 0;                 ///< number of the datagram or byte that tx_flags are about
  u32 skb_iif = 0;               ///< ifindex of first arrival
  u16 queue_mapping = 0;
  u16 vlan_tci = 0;
  u16 vlan_proto = 0;            ///< 0: no tag kept aside
  u16 frag_max_size = 0;         ///< of the fragments that it was reassembled from; 0: of none
  /// Memory to charge, bytes. Set when allocated; attaching, moving and cutting data leaves it to
  /// the caller, who knows whether the packet is charged to a sock.
  u32 truesize = 0;

 private:
  friend skb_ptr alloc_skb(cpu&, u32);
  friend skb_ptr skb_clone(cpu&, const sk_buff&);
  friend skb_ptr skb_copy(cpu&, const sk_buff&, u32);
  friend void kfree_skb(sk_buff*);
  friend class skb_ptr;
  static constexpr std::size_t cb_bytes = 96;
  explicit sk_buff(block_ref head) : head_(std::move(head)) {}
  ~sk_buff() = default;
  [[nodiscard]] u32 end() const { return head_->capacity; }
  [[nodiscard]] u16 off(u32 from_data) const { return static_cast<u16>(data_ + from_data); }
  [[nodiscard]] byte_view from(u16 at) const {
    ph_check(at != unset && at <= tail_);
    return {head_->bytes() + at, tail_ - at};
  }
  template <overlay T>
  [[nodiscard]] const T& header(u16 at) const {
    const T* out = view_as<T>(from(at));
    ph_check(out != nullptr);
    return *out;
  }
  template <overlay T>
  [[nodiscard]] T& header_mut(u16 at) {
    ph_check(!cloned());
    return const_cast<T&>(header<T>(at));
  }
  void drop_frags_from(std::size_t first);

  block_ref head_;
  u32 data_ = 0, tail_ = 0, data_len_ = 0;
  u16 mac_header_ = unset, network_header_ = unset, transport_header_ = unset;
  u8 nr_frags_ = 0;
  cb_owner cb_owner_;
  alignas(8) std::byte cb_[cb_bytes];
  std::array<skb_frag, max_skb_frags> frags_;
};

template <class F>
void sk_buff::for_pieces(u32 offset, u32 n, F&& f) const {
  ph_check(offset <= len() && n <= len() - offset);
  if (offset < headlen() && n != 0) {
    const u32 take = std::min(n, headlen() - offset);
    f(data().subspan(offset, take));
    n -= take;
    offset = 0;
  } else {
    offset -= std::min(offset, headlen());
  }
  for (std::size_t i = 0; i < nr_frags_ && n != 0; ++i) {
    const u32 frag_len = frags_[i].len;
    if (offset >= frag_len) {
      offset -= frag_len;
      continue;
    }
    const u32 take = std::min(n, frag_len - offset);
    f(frags_[i].bytes().subspan(offset, take));
    n -= take;
    offset = 0;
  }
}

/// Room for the largest link and network headers before a transport header.
inline constexpr u32 max_header = 128;

/// An empty packet with room for `bytes` linear bytes (data == tail == head; reserve() next).
skb_ptr alloc_skb(cpu& cx, u32 bytes);
/// A second packet over the same bytes; metadata and control block are copied, not sk and owner.
skb_ptr skb_clone(cpu& cx, const sk_buff& skb);
/// A private, linear copy with `headroom` bytes before the data.
skb_ptr skb_copy(cpu& cx, const sk_buff& skb, u32 headroom);
/// Returns memory without telling anyone; only for consume(), drop() and skb_ptr.
void kfree_skb(sk_buff* skb);

/// The normal end: data delivered, work done.
void consume(cpu& cx, skb_ptr skb);
/// The only way to throw a packet away: counted on the cpu, in the namespace's MIB and in its
/// journey.
void drop(cpu& cx, skb_ptr skb, skb_drop_reason why);

/// Ends the owner's charge: the sock gets its buffer space back now.
inline void skb_orphan(sk_buff& skb) {
  if (skb.destructor != nullptr) std::exchange(skb.destructor, nullptr)(skb);
  skb.sk = nullptr;
}
/// True when a received packet's transport checksum needs no look: verified by the device, or
/// never computed because the sender is on this machine (partial).
inline bool skb_csum_unnecessary(const sk_buff& skb) {
  return skb.ip_summed == checksum_state::unnecessary || skb.ip_summed == checksum_state::partial;
}

/// Strips what belongs to a host before a packet crosses to another (owner, route, mark, device).
void skb_scrub_packet(sk_buff& skb);

/// Fills in a checksum left to the device (checksum_state::partial). May move data.
result<void> skb_checksum_help(cpu& cx, sk_buff& skb);

void trace_packet(cpu& cx, const sk_buff& skb, trace_kind kind, std::string_view where,
                  skb_drop_reason why = {});
/// Gives a packet a journey if somebody listens and it has none.
inline void trace_born(cpu& cx, sk_buff& skb, std::string_view where) {
  if (skb.journey == 0 && cx.trace().active()) {
    skb.journey = cx.trace().begin();
    trace_packet(cx, skb, trace_kind::born, where);
  }
}

}  // namespace ph

/// Marks that `skb` reached this function. One comparison when nobody watches.
#define PH_TRACE(cx, skb)                                                                   \
  do {                                                                                      \
    if ((skb).journey != 0) ::ph::trace_packet((cx), (skb), ::ph::trace_kind::step, __func__); \
  } while (false)
