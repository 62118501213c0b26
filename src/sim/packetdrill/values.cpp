// The table of constants.
#include "sim/packetdrill/values.h"

#include <charconv>

#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/inet_addr.h"

namespace ph::packetdrill {
namespace {

using table = std::map<std::string_view, s64>;

void add_socket_names(table& t) {
  using namespace uapi;
  t.insert({{"AF_INET", af_inet}, {"AF_INET6", af_inet6}, {"SOCK_STREAM", sock_stream},
            {"SOCK_DGRAM", sock_dgram}, {"SOCK_RAW", sock_raw}, {"SOCK_NONBLOCK", sock_nonblock},
            {"SOCK_CLOEXEC", sock_cloexec}, {"IPPROTO_IP", 0}, {"IPPROTO_TCP", ipproto_tcp},
            {"IPPROTO_UDP", ipproto_udp}, {"IPPROTO_ICMP", ipproto_icmp}, {"IPPROTO_IPV6", 41},
            {"SOL_SOCKET", sol_socket}, {"SOL_TCP", sol_tcp}, {"SOL_IP", sol_ip},
            {"SOL_IPV6", sol_ipv6}, {"SOL_UDP", sol_udp}});
  t.insert({{"SO_REUSEADDR", so_reuseaddr}, {"SO_REUSEPORT", so_reuseport},
            {"SO_ERROR", so_error}, {"SO_SNDBUF", so_sndbuf}, {"SO_RCVBUF", so_rcvbuf},
            {"SO_SNDBUFFORCE", so_sndbufforce}, {"SO_RCVBUFFORCE", so_rcvbufforce},
            {"SO_KEEPALIVE", so_keepalive}, {"SO_OOBINLINE", so_oobinline},
            {"SO_LINGER", so_linger}, {"SO_RCVLOWAT", so_rcvlowat}, {"SO_RCVTIMEO", so_rcvtimeo},
            {"SO_SNDTIMEO", so_sndtimeo}, {"SO_PRIORITY", so_priority}, {"SO_MARK", so_mark},
            {"SO_TYPE", so_type}, {"SO_BROADCAST", so_broadcast}, {"SO_ZEROCOPY", so_zerocopy},
            {"SO_TIMESTAMP", so_timestamp}, {"SO_TIMESTAMPING", so_timestamping},
            {"SO_MAX_PACING_RATE", so_max_pacing_rate}, {"SO_ACCEPTCONN", so_acceptconn}});
  t.insert({{"MSG_OOB", msg_oob}, {"MSG_PEEK", msg_peek}, {"MSG_TRUNC", msg_trunc},
            {"MSG_DONTWAIT", msg_dontwait}, {"MSG_EOR", msg_eor}, {"MSG_WAITALL", msg_waitall},
            {"MSG_ERRQUEUE", msg_errqueue}, {"MSG_NOSIGNAL", msg_nosignal},
            {"MSG_MORE", msg_more}, {"MSG_ZEROCOPY", msg_zerocopy}, {"MSG_CTRUNC", msg_ctrunc},
            {"MSG_FASTOPEN", msg_fastopen}, {"SHUT_RD", shut_rd}, {"SHUT_WR", shut_wr},
            {"SHUT_RDWR", shut_rdwr}});
  t.insert({{"POLLIN", pollin}, {"POLLOUT", pollout}, {"POLLERR", pollerr},
            {"POLLHUP", pollhup}, {"POLLRDHUP", pollrdhup}, {"POLLPRI", pollpri},
            {"POLLNVAL", pollnval}, {"EPOLLIN", epollin}, {"EPOLLOUT", epollout},
            {"EPOLLERR", epollerr}, {"EPOLLHUP", epollhup}, {"EPOLLRDHUP", epollrdhup},
            {"EPOLLET", epollet}, {"EPOLLONESHOT", epolloneshot},
            {"EPOLLEXCLUSIVE", epollexclusive}, {"EPOLL_CTL_ADD", epoll_ctl_add},
            {"EPOLL_CTL_DEL", epoll_ctl_del}, {"EPOLL_CTL_MOD", epoll_ctl_mod}});
  t.insert({{"O_RDWR", o_rdwr}, {"O_NONBLOCK", o_nonblock}, {"O_RDONLY", 0}, {"O_WRONLY", 1},
            {"F_GETFL", 3}, {"F_SETFL", 4}, {"SIOCINQ", siocinq}, {"SIOCOUTQ", siocoutq},
            {"FIONREAD", fionread}, {"FIONBIO", fionbio}, {"SIOCATMARK", siocatmark},
            {"SOMAXCONN", 4096}});
}

void add_inet_names(table& t) {
  using namespace uapi;
  t.insert({{"IP_TOS", ip_tos}, {"IP_TTL", ip_ttl}, {"IP_MTU_DISCOVER", ip_mtu_discover},
            {"IP_MTU", ip_mtu}, {"IP_RECVERR", ip_recverr}, {"IP_RECVTOS", ip_recvtos},
            {"IP_PMTUDISC_DONT", 0}, {"IP_PMTUDISC_WANT", 1}, {"IP_PMTUDISC_DO", 2},
            {"IP_PMTUDISC_PROBE", 3}, {"IPV6_RECVERR", ipv6_recverr},
            {"IPV6_UNICAST_HOPS", ipv6_unicast_hops}, {"IPV6_TCLASS", ipv6_tclass},
            {"IPV6_V6ONLY", ipv6_v6only}, {"IPTOS_LOWDELAY", iptos_lowdelay}});
  t.insert({{"TCP_NODELAY", tcp_nodelay}, {"TCP_MAXSEG", tcp_maxseg}, {"TCP_CORK", tcp_cork},
            {"TCP_KEEPIDLE", tcp_keepidle}, {"TCP_KEEPINTVL", tcp_keepintvl},
            {"TCP_KEEPCNT", tcp_keepcnt}, {"TCP_SYNCNT", tcp_syncnt},
            {"TCP_LINGER2", tcp_linger2}, {"TCP_DEFER_ACCEPT", tcp_defer_accept},
            {"TCP_WINDOW_CLAMP", tcp_window_clamp}, {"TCP_INFO", tcp_info_opt},
            {"TCP_QUICKACK", tcp_quickack}, {"TCP_CONGESTION", tcp_congestion},
            {"TCP_MD5SIG", tcp_md5sig_opt}, {"TCP_USER_TIMEOUT", tcp_user_timeout},
            {"TCP_FASTOPEN", tcp_fastopen}, {"TCP_FASTOPEN_CONNECT", tcp_fastopen_connect},
            {"TCP_FASTOPEN_NO_COOKIE", tcp_fastopen_no_cookie},
            {"TCP_NOTSENT_LOWAT", tcp_notsent_lowat}, {"TCP_TIMESTAMP", tcp_timestamp},
            {"TCP_SAVE_SYN", tcp_save_syn}, {"TCP_SAVED_SYN", tcp_saved_syn},
            {"TCP_INQ", tcp_inq}, {"TCP_CM_INQ", tcp_inq}, {"TCP_CC_INFO", tcp_cc_info}});
  t.insert({{"TCP_CA_Open", 0}, {"TCP_CA_Disorder", 1}, {"TCP_CA_CWR", 2},
            {"TCP_CA_Recovery", 3}, {"TCP_CA_Loss", 4}, {"TCP_CA_OPEN", 0},
            {"TCP_CA_DISORDER", 1}, {"TCP_CA_RECOVERY", 3}, {"TCP_CA_LOSS", 4},
            {"TCP_INFINITE_SSTHRESH", 0x7fffffff}, {"TCPI_OPT_TIMESTAMPS", 1},
            {"TCPI_OPT_SACK", 2}, {"TCPI_OPT_WSCALE", 4}, {"TCPI_OPT_ECN", 8},
            {"TCPI_OPT_ECN_SEEN", 16}, {"TCPI_OPT_SYN_DATA", 32}});
  t.insert({{"TCP_ESTABLISHED", 1}, {"TCP_SYN_SENT", 2}, {"TCP_SYN_RECV", 3},
            {"TCP_FIN_WAIT1", 4}, {"TCP_FIN_WAIT2", 5}, {"TCP_TIME_WAIT", 6}, {"TCP_CLOSE", 7},
            {"TCP_CLOSE_WAIT", 8}, {"TCP_LAST_ACK", 9}, {"TCP_LISTEN", 10}, {"TCP_CLOSING", 11},
            {"TCPI_ESTABLISHED", 1}, {"TCPI_SYN_SENT", 2}, {"TCPI_SYN_RECEIVED", 3},
            {"TCPI_FIN_WAIT_1", 4}, {"TCPI_FIN_WAIT_2", 5}, {"TCPI_TIME_WAIT", 6},
            {"TCPI_CLOSED", 7}, {"TCPI_CLOSE_WAIT", 8}, {"TCPI_LAST_ACK", 9},
            {"TCPI_LISTEN", 10}, {"TCPI_CLOSING", 11}});
  t.insert({{"SO_EE_ORIGIN_ZEROCOPY", 5}, {"SO_EE_ORIGIN_TIMESTAMPING", 4},
            {"SO_EE_CODE_ZEROCOPY_COPIED", 1}, {"ENOMSG", so_ee_no_error},
            {"SCM_TIMESTAMPING", so_timestamping},
            {"SCM_TSTAMP_SND", 0}, {"SCM_TSTAMP_SCHED", 1}, {"SCM_TSTAMP_ACK", 2},
            {"SOF_TIMESTAMPING_TX_SCHED", sof_timestamping_tx_sched},
            {"SOF_TIMESTAMPING_TX_SOFTWARE", sof_timestamping_tx_software},
            {"SOF_TIMESTAMPING_TX_ACK", sof_timestamping_tx_ack},
            {"SOF_TIMESTAMPING_SOFTWARE", sof_timestamping_software},
            {"SOF_TIMESTAMPING_OPT_ID", sof_timestamping_opt_id}});
}

table make_table() {
  table out;
  add_socket_names(out);
  add_inet_names(out);
  for (int e = 1; e < 134; ++e) {
    const std::string_view name = errc_name(static_cast<errc>(e));
    if (name != "E?") out.emplace(name, e);
  }
  return out;
}

std::optional<s64> number(std::string_view text) {
  const bool hex = text.starts_with("0x");
  if (hex) text.remove_prefix(2);
  s64 out = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), out, hex ? 16 : 10);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return out;
}

/// Addresses and ports stay in the order of the host.
std::optional<s64> evaluate_function(const expression& e, std::string* unknown) {
  if (e.items.size() != 1) return std::nullopt;
  const expression& argument = e.items.front();
  if (e.word == "htons" || e.word == "htonl" || e.word == "ntohs" || e.word == "ntohl") {
    return evaluate(argument, unknown);
  }
  if (e.word == "inet_addr") {
    const auto addr = ipv4_addr::parse(argument.word);
    if (addr) return addr->value();
  }
  if (unknown != nullptr) *unknown = e.word + "()";
  return std::nullopt;
}

}  // namespace

std::optional<s64> constant(std::string_view name) {
  static const table names = make_table();
  const auto found = names.find(name);
  if (found == names.end()) return std::nullopt;
  return found->second;
}

std::optional<s64> evaluate(const expression& e, std::string* unknown) {
  switch (e.kind) {
    case expression::kind_type::integer: return e.number;
    case expression::kind_type::negated: {
      const auto inner = evaluate(e.items.front(), unknown);
      if (!inner) return std::nullopt;
      return ~*inner;
    }
    case expression::kind_type::function: return evaluate_function(e, unknown);
    case expression::kind_type::list:
      if (e.items.size() == 1) return evaluate(e.items.front(), unknown);
      break;
    case expression::kind_type::word: {
      s64 out = 0;
      for (std::string_view rest = e.word; !rest.empty();) {
        const std::size_t bar = std::min(rest.find('|'), rest.size());
        const std::string_view word = rest.substr(0, bar);
        const auto value = number(word) ? number(word) : constant(word);
        if (!value) {
          if (unknown != nullptr) *unknown = word;
          return std::nullopt;
        }
        out |= *value;
        rest.remove_prefix(std::min(bar + 1, rest.size()));
      }
      return out;
    }
    default: break;
  }
  if (unknown != nullptr) *unknown = "a number";
  return std::nullopt;
}

std::optional<errc> errno_by_name(std::string_view name) {
  const auto value = constant(name == "EWOULDBLOCK" ? "EAGAIN" : name);
  if (!value || !name.starts_with("E")) return std::nullopt;
  return static_cast<errc>(*value);
}

}  // namespace ph::packetdrill
