// Values of the options that set keys of signed segments: TCP_MD5SIG, TCP_MD5SIG_EXT, TCP_AO_*
// (tcp(7) and the kernel's documentation of TCP-AO).
#pragma once

#include <array>

#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::uapi {

/// A sockaddr in the 128 bytes that hold one of any family.
struct alignas(8) sockaddr_room {
  std::array<u8, 128> bytes{};
};

inline constexpr std::size_t tcp_md5sig_maxkeylen = 80;
inline constexpr u8 tcp_md5sig_flag_prefix = 1;   ///< tcpm_prefixlen is given
inline constexpr u8 tcp_md5sig_flag_ifindex = 2;  ///< tcpm_ifindex is given

/// Value of TCP_MD5SIG and TCP_MD5SIG_EXT. A key of no bytes deletes.
struct tcp_md5sig {
  sockaddr_room tcpm_addr;
  u8 tcpm_flags = 0;
  u8 tcpm_prefixlen = 0;
  u16 tcpm_keylen = 0;
  s32 tcpm_ifindex = 0;
  std::array<u8, tcp_md5sig_maxkeylen> tcpm_key{};
};
static_assert(sizeof(tcp_md5sig) == 216);

inline constexpr std::size_t tcp_ao_maxkeylen = 80;
inline constexpr u8 tcp_ao_keyf_ifindex = 1;
inline constexpr u8 tcp_ao_keyf_exclude_opt = 2;  ///< options are not covered

/// Value of TCP_AO_ADD_KEY.
struct alignas(8) tcp_ao_add {
  sockaddr_room addr;
  std::array<char, 64> alg_name{};  ///< "hmac(sha1)", "cmac(aes128)"
  s32 ifindex = 0;
  u32 set_current : 1 = 0;
  u32 set_rnext : 1 = 0;
  u32 reserved : 30 = 0;
  u16 reserved2 = 0;
  u8 prefix = 0;
  u8 sndid = 0;
  u8 rcvid = 0;
  u8 maclen = 0;                    ///< 0: as the algorithm has it
  u8 keyflags = 0;
  u8 keylen = 0;
  std::array<u8, tcp_ao_maxkeylen> key{};
};
static_assert(sizeof(tcp_ao_add) == 288);

/// Value of TCP_AO_DEL_KEY.
struct alignas(8) tcp_ao_del {
  sockaddr_room addr;
  s32 ifindex = 0;
  u32 set_current : 1 = 0;
  u32 set_rnext : 1 = 0;
  u32 del_async : 1 = 0;
  u32 reserved : 29 = 0;
  u16 reserved2 = 0;
  u8 prefix = 0;
  u8 sndid = 0;
  u8 rcvid = 0;
  u8 current_key = 0;
  u8 rnext = 0;
  u8 keyflags = 0;
};
static_assert(sizeof(tcp_ao_del) == 144);

/// Value of TCP_AO_INFO.
struct alignas(8) tcp_ao_info_opt {
  u32 set_current : 1 = 0;
  u32 set_rnext : 1 = 0;
  u32 ao_required : 1 = 0;
  u32 set_counters : 1 = 0;
  u32 accept_icmps : 1 = 0;
  u32 reserved : 27 = 0;
  u16 reserved2 = 0;
  u8 current_key = 0;
  u8 rnext = 0;
  u64 pkt_good = 0;
  u64 pkt_bad = 0;
  u64 pkt_key_not_found = 0;
  u64 pkt_ao_required = 0;
  u64 pkt_dropped_icmp = 0;
};
static_assert(sizeof(tcp_ao_info_opt) == 48);

/// TCP_AO_REPAIR and its value: what of a signed connection moves with it (TCP_REPAIR).
inline constexpr int tcp_ao_repair_opt = 42;
struct alignas(8) tcp_ao_repair {
  be32 snt_isn, rcv_isn;
  u32 snd_sne = 0, rcv_sne = 0;  ///< how often sequence numbers wrapped
};
static_assert(sizeof(tcp_ao_repair) == 16);

/// Value of TCP_AO_GET_KEYS: one filter in, so many keys out.
struct alignas(8) tcp_ao_getsockopt {
  sockaddr_room addr;
  std::array<char, 64> alg_name{};
  std::array<u8, tcp_ao_maxkeylen> key{};
  u32 nkeys = 0;
  u16 is_current : 1 = 0;
  u16 is_rnext : 1 = 0;
  u16 get_all : 1 = 0;
  u16 reserved : 13 = 0;
  u8 sndid = 0;
  u8 rcvid = 0;
  u8 prefix = 0;
  u8 maclen = 0;
  u8 keyflags = 0;
  u8 keylen = 0;
  s32 ifindex = 0;
  u64 pkt_good = 0;
  u64 pkt_bad = 0;
};
static_assert(sizeof(tcp_ao_getsockopt) == 304);

}  // namespace ph::uapi
