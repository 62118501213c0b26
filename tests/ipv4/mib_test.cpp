// The counters of all protocols together, beside those of the system that runs the test.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/support/two_hosts.h"

namespace ph {
namespace {

/// "TcpExtSyncookiesSent" … in the order of /proc/net/snmp and /proc/net/netstat.
std::vector<std::string> counters_of_the_system() {
  std::vector<std::string> out;
  for (const char* path : {"/proc/net/snmp", "/proc/net/netstat"}) {
    std::ifstream file(path);
    std::string names, values;
    while (std::getline(file, names) && std::getline(file, values)) {
      std::istringstream words(names);
      std::string group, name;
      words >> group;
      group.pop_back();  // "Tcp:"
      while (words >> name) out.push_back(group + name);
    }
  }
  return out;
}

TEST(mib, has_the_systems_names_in_the_systems_order) {
  const std::vector<std::string> theirs = counters_of_the_system();
  if (theirs.empty()) GTEST_SKIP() << "/proc/net/snmp is not there";
  two_hosts lab;
  std::size_t known = 0, last = 0;
  lab.a.net().mib().for_each([&](mib_counter, std::string_view name, u64) {
    const auto found = std::find(theirs.begin(), theirs.end(), name);
    if (found == theirs.end()) return;  // an older system lacks some
    const auto place = static_cast<std::size_t>(found - theirs.begin());
    EXPECT_GE(place, last) << name;
    last = place;
    ++known;
  });
  EXPECT_GE(known, 100u);
}

TEST(mib, is_told_by_the_names_of_nstat) {
  two_hosts lab;
  const mib_table& counters = lab.a.net().mib();
  EXPECT_EQ(counters.name(mib::ip_in_receives), "IpInReceives");
  EXPECT_EQ(counters.name(mib::tcpext_tcp_timeouts), "TcpExtTCPTimeouts");
  EXPECT_EQ(counters.name(mib::udplite_no_ports), "UdpLiteNoPorts");
}

}  // namespace
}  // namespace ph
