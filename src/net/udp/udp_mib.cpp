// The names of UDP's and UDP-Lite's counters, as nstat(8) spells them.
#include "net/udp/udp_mib.h"

namespace ph {
namespace {

constexpr mib_row udp_rows[] = {
    {mib::udp_in_datagrams, "UdpInDatagrams"},    {mib::udp_no_ports, "UdpNoPorts"},
    {mib::udp_in_errors, "UdpInErrors"},          {mib::udp_out_datagrams, "UdpOutDatagrams"},
    {mib::udp_rcvbuf_errors, "UdpRcvbufErrors"},  {mib::udp_sndbuf_errors, "UdpSndbufErrors"},
    {mib::udp_in_csum_errors, "UdpInCsumErrors"}, {mib::udp_ignored_multi, "UdpIgnoredMulti"},
};
static_assert(mib_in_order(udp_rows, mib::udp_counters_end));

constexpr mib_row udplite_rows[] = {
    {mib::udplite_in_datagrams, "UdpLiteInDatagrams"},
    {mib::udplite_no_ports, "UdpLiteNoPorts"},
    {mib::udplite_in_errors, "UdpLiteInErrors"},
    {mib::udplite_out_datagrams, "UdpLiteOutDatagrams"},
    {mib::udplite_rcvbuf_errors, "UdpLiteRcvbufErrors"},
    {mib::udplite_sndbuf_errors, "UdpLiteSndbufErrors"},
    {mib::udplite_in_csum_errors, "UdpLiteInCsumErrors"},
    {mib::udplite_ignored_multi, "UdpLiteIgnoredMulti"},
};
static_assert(mib_in_order(udplite_rows, mib::udplite_counters_end));

}  // namespace

void udp_mib_init(mib_table& counters) {
  counters.add_group(udp_rows);
  counters.add_group(udplite_rows);
}

}  // namespace ph
