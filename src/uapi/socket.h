// The Linux socket ABI as C++ constants and plain structs: families, levels, generic options,
// message flags, addresses, poll bits and ioctls, numbered as on x86-64 (socket(7), ip(7),
// poll(2), netdevice(7)).
//
// Names are the C names in lower case inside ph::uapi, so that the macros of system headers
// cannot meet them. Address structs are overlays (alignment 1, "host order" fields are le16/le32);
// option values that are copied whole (linger, timeval ...) have their natural alignment.
// Not here: protocol levels and their options (uapi/inet.h), packet sockets (uapi/packet.h).
#pragma once

#include "base/byteorder.h"

namespace ph::uapi {

// Address families, socket(2).
inline constexpr u16 af_unspec = 0;
inline constexpr u16 af_unix = 1;
inline constexpr u16 af_local = 1;
inline constexpr u16 af_inet = 2;
inline constexpr u16 af_bridge = 7;
inline constexpr u16 af_inet6 = 10;
inline constexpr u16 af_key = 15;
inline constexpr u16 af_netlink = 16;
inline constexpr u16 af_packet = 17;
inline constexpr u16 af_can = 29;
inline constexpr u16 af_tipc = 30;
inline constexpr u16 af_bluetooth = 31;
inline constexpr u16 af_alg = 38;
inline constexpr u16 af_vsock = 40;
inline constexpr u16 af_xdp = 44;
inline constexpr u16 af_max = 46;

// Socket types and the flags that socket(2) and accept4(2) take with them.
inline constexpr int sock_stream = 1;
inline constexpr int sock_dgram = 2;
inline constexpr int sock_raw = 3;
inline constexpr int sock_rdm = 4;
inline constexpr int sock_seqpacket = 5;
inline constexpr int sock_dccp = 6;
inline constexpr int sock_packet = 10;
inline constexpr int sock_type_mask = 0xf;
inline constexpr int sock_nonblock = 0x800;
inline constexpr int sock_cloexec = 0x80000;

// Option levels.
inline constexpr int sol_ip = 0;
inline constexpr int sol_socket = 1;
inline constexpr int sol_tcp = 6;
inline constexpr int sol_udp = 17;
inline constexpr int sol_ipv6 = 41;
inline constexpr int sol_icmpv6 = 58;
inline constexpr int sol_sctp = 132;
inline constexpr int sol_udplite = 136;
inline constexpr int sol_raw = 255;
inline constexpr int sol_packet = 263;
inline constexpr int sol_netlink = 270;
inline constexpr int sol_tls = 282;
inline constexpr int sol_xdp = 283;
inline constexpr int sol_mptcp = 284;

// Options of level sol_socket, socket(7).
inline constexpr int so_debug = 1;
inline constexpr int so_reuseaddr = 2;
inline constexpr int so_type = 3;
inline constexpr int so_error = 4;
inline constexpr int so_dontroute = 5;
inline constexpr int so_broadcast = 6;
inline constexpr int so_sndbuf = 7;
inline constexpr int so_rcvbuf = 8;
inline constexpr int so_keepalive = 9;
inline constexpr int so_oobinline = 10;
inline constexpr int so_no_check = 11;
inline constexpr int so_priority = 12;
inline constexpr int so_linger = 13;
inline constexpr int so_bsdcompat = 14;
inline constexpr int so_reuseport = 15;
inline constexpr int so_passcred = 16;
inline constexpr int so_peercred = 17;
inline constexpr int so_rcvlowat = 18;
inline constexpr int so_sndlowat = 19;
inline constexpr int so_rcvtimeo = 20;
inline constexpr int so_sndtimeo = 21;
inline constexpr int so_bindtodevice = 25;
inline constexpr int so_attach_filter = 26;
inline constexpr int so_detach_filter = 27;
inline constexpr int so_peername = 28;
inline constexpr int so_timestamp = 29;
inline constexpr int so_acceptconn = 30;
inline constexpr int so_peersec = 31;
inline constexpr int so_sndbufforce = 32;
inline constexpr int so_rcvbufforce = 33;
inline constexpr int so_passsec = 34;
inline constexpr int so_timestampns = 35;
inline constexpr int so_mark = 36;
inline constexpr int so_timestamping = 37;
inline constexpr int so_protocol = 38;
inline constexpr int so_domain = 39;
inline constexpr int so_rxq_ovfl = 40;
inline constexpr int so_wifi_status = 41;
inline constexpr int so_peek_off = 42;
inline constexpr int so_nofcs = 43;
inline constexpr int so_lock_filter = 44;
inline constexpr int so_select_err_queue = 45;
inline constexpr int so_busy_poll = 46;
inline constexpr int so_max_pacing_rate = 47;
inline constexpr int so_bpf_extensions = 48;
inline constexpr int so_incoming_cpu = 49;
inline constexpr int so_attach_bpf = 50;
inline constexpr int so_attach_reuseport_cbpf = 51;
inline constexpr int so_attach_reuseport_ebpf = 52;
inline constexpr int so_cnx_advice = 53;
inline constexpr int so_meminfo = 55;
inline constexpr int so_incoming_napi_id = 56;
inline constexpr int so_cookie = 57;
inline constexpr int so_peergroups = 59;
inline constexpr int so_zerocopy = 60;
inline constexpr int so_txtime = 61;
inline constexpr int so_bindtoifindex = 62;
inline constexpr int so_timestamp_new = 63;
inline constexpr int so_timestampns_new = 64;
inline constexpr int so_timestamping_new = 65;
inline constexpr int so_rcvtimeo_new = 66;
inline constexpr int so_sndtimeo_new = 67;
inline constexpr int so_detach_reuseport_bpf = 68;
inline constexpr int so_prefer_busy_poll = 69;
inline constexpr int so_busy_poll_budget = 70;
inline constexpr int so_netns_cookie = 71;
inline constexpr int so_buf_lock = 72;
inline constexpr int so_reserve_mem = 73;
inline constexpr int so_txrehash = 74;
inline constexpr int so_rcvmark = 75;
inline constexpr int so_passpidfd = 76;
inline constexpr int so_peerpidfd = 77;
inline constexpr int so_rcvpriority = 82;
inline constexpr int so_passrights = 83;

// Words that SO_MEMINFO returns, in order.
inline constexpr int sk_meminfo_rmem_alloc = 0;
inline constexpr int sk_meminfo_rcvbuf = 1;
inline constexpr int sk_meminfo_wmem_alloc = 2;
inline constexpr int sk_meminfo_sndbuf = 3;
inline constexpr int sk_meminfo_fwd_alloc = 4;
inline constexpr int sk_meminfo_wmem_queued = 5;
inline constexpr int sk_meminfo_optmem = 6;
inline constexpr int sk_meminfo_backlog = 7;
inline constexpr int sk_meminfo_drops = 8;
inline constexpr int sk_meminfo_vars = 9;

// Values of SO_TIMESTAMPING.
inline constexpr u32 sof_timestamping_tx_hardware = 1u << 0;
inline constexpr u32 sof_timestamping_tx_software = 1u << 1;
inline constexpr u32 sof_timestamping_rx_hardware = 1u << 2;
inline constexpr u32 sof_timestamping_rx_software = 1u << 3;
inline constexpr u32 sof_timestamping_software = 1u << 4;
inline constexpr u32 sof_timestamping_sys_hardware = 1u << 5;
inline constexpr u32 sof_timestamping_raw_hardware = 1u << 6;
inline constexpr u32 sof_timestamping_opt_id = 1u << 7;
inline constexpr u32 sof_timestamping_tx_sched = 1u << 8;
inline constexpr u32 sof_timestamping_tx_ack = 1u << 9;
inline constexpr u32 sof_timestamping_opt_cmsg = 1u << 10;
inline constexpr u32 sof_timestamping_opt_tsonly = 1u << 11;
inline constexpr u32 sof_timestamping_opt_stats = 1u << 12;
inline constexpr u32 sof_timestamping_opt_tx_swhw = 1u << 14;
inline constexpr u32 sof_timestamping_opt_id_tcp = 1u << 16;

// Control message types of level sol_socket.
inline constexpr int scm_rights = 1;
inline constexpr int scm_credentials = 2;
inline constexpr int scm_timestamp = so_timestamp;
inline constexpr int scm_timestampns = so_timestampns;
inline constexpr int scm_timestamping = so_timestamping;
inline constexpr int scm_txtime = so_txtime;
inline constexpr int scm_max_fd = 253;

// Flags of send(2) and recv(2).
inline constexpr int msg_oob = 0x1;
inline constexpr int msg_peek = 0x2;
inline constexpr int msg_dontroute = 0x4;
inline constexpr int msg_ctrunc = 0x8;
inline constexpr int msg_proxy = 0x10;
inline constexpr int msg_trunc = 0x20;
inline constexpr int msg_dontwait = 0x40;
inline constexpr int msg_eor = 0x80;
inline constexpr int msg_waitall = 0x100;
inline constexpr int msg_fin = 0x200;
inline constexpr int msg_syn = 0x400;
inline constexpr int msg_confirm = 0x800;
inline constexpr int msg_rst = 0x1000;
inline constexpr int msg_errqueue = 0x2000;
inline constexpr int msg_nosignal = 0x4000;
inline constexpr int msg_more = 0x8000;
inline constexpr int msg_waitforone = 0x10000;
inline constexpr int msg_batch = 0x40000;
inline constexpr int msg_zerocopy = 0x4000000;
inline constexpr int msg_fastopen = 0x20000000;
inline constexpr int msg_cmsg_cloexec = 0x40000000;

// How, of shutdown(2).
inline constexpr int shut_rd = 0;
inline constexpr int shut_wr = 1;
inline constexpr int shut_rdwr = 2;

/// The largest accept backlog that listen(2) grants unless net.core.somaxconn says otherwise.
inline constexpr int somaxconn = 4096;
/// sendmsg(2) takes at most this many pieces, sendmmsg(2) this many messages.
inline constexpr int uio_maxiov = 1024;

// Events of poll(2).
inline constexpr u32 pollin = 0x001;
inline constexpr u32 pollpri = 0x002;
inline constexpr u32 pollout = 0x004;
inline constexpr u32 pollerr = 0x008;
inline constexpr u32 pollhup = 0x010;
inline constexpr u32 pollnval = 0x020;
inline constexpr u32 pollrdnorm = 0x040;
inline constexpr u32 pollrdband = 0x080;
inline constexpr u32 pollwrnorm = 0x100;
inline constexpr u32 pollwrband = 0x200;
inline constexpr u32 pollmsg = 0x400;
inline constexpr u32 pollrdhup = 0x2000;

// Events, flags and commands of epoll_ctl(2).
inline constexpr u32 epollin = 0x001;
inline constexpr u32 epollpri = 0x002;
inline constexpr u32 epollout = 0x004;
inline constexpr u32 epollerr = 0x008;
inline constexpr u32 epollhup = 0x010;
inline constexpr u32 epollrdnorm = 0x040;
inline constexpr u32 epollrdband = 0x080;
inline constexpr u32 epollwrnorm = 0x100;
inline constexpr u32 epollwrband = 0x200;
inline constexpr u32 epollmsg = 0x400;
inline constexpr u32 epollrdhup = 0x2000;
inline constexpr u32 epollexclusive = 1u << 28;
inline constexpr u32 epollwakeup = 1u << 29;
inline constexpr u32 epolloneshot = 1u << 30;
inline constexpr u32 epollet = 1u << 31;
inline constexpr int epoll_ctl_add = 1;
inline constexpr int epoll_ctl_del = 2;
inline constexpr int epoll_ctl_mod = 3;
inline constexpr int epoll_cloexec = 0x80000;

// fcntl(2) flags that matter to sockets.
inline constexpr int o_nonblock = 0x800;
inline constexpr int o_cloexec = 0x80000;
inline constexpr int o_rdwr = 2;

// ioctl(2) requests of sockets and interfaces, netdevice(7), tcp(7), udp(7).
inline constexpr u32 fionread = 0x541b;
inline constexpr u32 fionbio = 0x5421;
inline constexpr u32 fioasync = 0x5452;
inline constexpr u32 siocinq = fionread;
inline constexpr u32 tiocoutq = 0x5411;
inline constexpr u32 siocoutq = tiocoutq;
inline constexpr u32 fiosetown = 0x8901;
inline constexpr u32 siocspgrp = 0x8902;
inline constexpr u32 fiogetown = 0x8903;
inline constexpr u32 siocgpgrp = 0x8904;
inline constexpr u32 siocatmark = 0x8905;
inline constexpr u32 siocgstamp = 0x8906;
inline constexpr u32 siocgstampns = 0x8907;
inline constexpr u32 siocgstamp_new = 0x80108906;  ///< _IOR(0x89, 6, long long[2])
inline constexpr u32 siocgstampns_new = 0x80108907;
inline constexpr u32 siocaddrt = 0x890b;
inline constexpr u32 siocdelrt = 0x890c;
inline constexpr u32 siocgifname = 0x8910;
inline constexpr u32 siocgifconf = 0x8912;
inline constexpr u32 siocgifflags = 0x8913;
inline constexpr u32 siocsifflags = 0x8914;
inline constexpr u32 siocgifaddr = 0x8915;
inline constexpr u32 siocsifaddr = 0x8916;
inline constexpr u32 siocgifdstaddr = 0x8917;
inline constexpr u32 siocsifdstaddr = 0x8918;
inline constexpr u32 siocgifbrdaddr = 0x8919;
inline constexpr u32 siocsifbrdaddr = 0x891a;
inline constexpr u32 siocgifnetmask = 0x891b;
inline constexpr u32 siocsifnetmask = 0x891c;
inline constexpr u32 siocgifmetric = 0x891d;
inline constexpr u32 siocsifmetric = 0x891e;
inline constexpr u32 siocgifmtu = 0x8921;
inline constexpr u32 siocsifmtu = 0x8922;
inline constexpr u32 siocsifname = 0x8923;
inline constexpr u32 siocsifhwaddr = 0x8924;
inline constexpr u32 siocgifhwaddr = 0x8927;
inline constexpr u32 siocaddmulti = 0x8931;
inline constexpr u32 siocdelmulti = 0x8932;
inline constexpr u32 siocgifindex = 0x8933;
inline constexpr u32 siocgifcount = 0x8938;
inline constexpr u32 siocgiftxqlen = 0x8942;
inline constexpr u32 siocsiftxqlen = 0x8943;
inline constexpr u32 siocethtool = 0x8946;
inline constexpr u32 siocoutqnsd = 0x894b;
inline constexpr u32 siocgskns = 0x894c;
inline constexpr u32 siocdarp = 0x8953;
inline constexpr u32 siocgarp = 0x8954;
inline constexpr u32 siocsarp = 0x8955;
inline constexpr u32 siocgifmap = 0x8970;

/// The part that all socket addresses share.
struct sockaddr {
  le16 sa_family;
  u8 sa_data[14]{};
};

/// ip(7). The family is in host order (little endian here), the rest in network order.
struct sockaddr_in {
  le16 sin_family;
  be16 sin_port;
  be32 sin_addr;
  u8 sin_zero[8]{};
};

/// ipv6(7).
struct sockaddr_in6 {
  le16 sin6_family;
  be16 sin6_port;
  be32 sin6_flowinfo;
  u8 sin6_addr[16]{};
  le32 sin6_scope_id;
};

/// packet(7).
struct sockaddr_ll {
  le16 sll_family;
  be16 sll_protocol;
  le32 sll_ifindex;
  le16 sll_hatype;
  u8 sll_pkttype = 0;
  u8 sll_halen = 0;
  u8 sll_addr[8]{};
};

/// unix(7).
struct sockaddr_un {
  le16 sun_family;
  u8 sun_path[108]{};
};

/// Bytes of the largest socket address.
inline constexpr std::size_t sockaddr_storage_bytes = 128;

static_assert(sizeof(sockaddr) == 16 && alignof(sockaddr) == 1);
static_assert(sizeof(sockaddr_in) == 16 && alignof(sockaddr_in) == 1);
static_assert(sizeof(sockaddr_in6) == 28 && alignof(sockaddr_in6) == 1);
static_assert(sizeof(sockaddr_ll) == 20 && alignof(sockaddr_ll) == 1);
static_assert(sizeof(sockaddr_un) == 110 && alignof(sockaddr_un) == 1);

/// Value of SO_LINGER; l_linger in seconds.
struct linger {
  s32 l_onoff = 0;
  s32 l_linger = 0;
};
/// Value of SO_RCVTIMEO, SO_SNDTIMEO and SCM_TIMESTAMP.
struct timeval {
  s64 tv_sec = 0;
  s64 tv_usec = 0;
};
/// Value of SCM_TIMESTAMPNS.
struct timespec {
  s64 tv_sec = 0;
  s64 tv_nsec = 0;
};
/// Value of SCM_TIMESTAMPING: software, (unused), hardware.
struct scm_timestamping_value {
  timespec ts[3];
};
/// Value of SO_PEERCRED and SCM_CREDENTIALS.
struct ucred {
  s32 pid = 0;
  u32 uid = 0;
  u32 gid = 0;
};

/// Header of a control message, cmsg(3); data follow at cmsg_align(sizeof(cmsghdr)).
struct cmsghdr {
  u64 cmsg_len = 0;  ///< of header and data, without trailing padding
  s32 cmsg_level = 0;
  s32 cmsg_type = 0;
};
/// Rounds a length up to the alignment of control messages.
constexpr std::size_t cmsg_align(std::size_t n) { return (n + 7) & ~std::size_t{7}; }
/// The cmsg_len of a message with n data bytes.
constexpr std::size_t cmsg_len(std::size_t n) { return sizeof(cmsghdr) + n; }
/// The room that a message with n data bytes takes.
constexpr std::size_t cmsg_space(std::size_t n) { return sizeof(cmsghdr) + cmsg_align(n); }

/// Bytes of an interface name with its final zero.
inline constexpr std::size_t ifnamsiz = 16;
/// Bytes of struct ifreq, and where its value (address, number or flags) begins.
inline constexpr std::size_t ifreq_bytes = 40;
inline constexpr std::size_t ifreq_value_offset = ifnamsiz;

}  // namespace ph::uapi
