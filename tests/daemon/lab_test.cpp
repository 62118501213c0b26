// Lab files: what each part of the format becomes, and the exact words of each complaint.
#include "daemon/lab.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace ph {
namespace {

constexpr const char* full_lab = R"(
seed: 7
hosts:
  alice: {}
  bob: { cpus: 2 }
  r1: { sysctl: { net.ipv4.ip_forward: 1 } }
links:
  - ends: [ "alice:eth0 10.0.1.2/24", "r1:eth0 10.0.1.1/24" ]
    rate: 100mbit
    delay: 10ms
    jitter: 1ms
    loss: 0.5%
    reorder: 1%
    duplicate: 2%
    corrupt: 100%
    queue: 256
    mtu: 9000
    jitter_reorders: yes
  - ends: [ "bob:eth0 10.0.2.2/24 10.0.3.2/31", "r1:eth1 10.0.2.1/24" ]
routes:
  alice: [ "default via 10.0.1.1" ]
  bob: [ "10.1.0.0/16 via 10.0.2.1 dev eth0 metric 5 src 10.0.3.2", "blackhole 10.9.9.0/24" ]
devices:
  - { host: r1, name: up0, tap: ph0, address: 10.9.0.2/24, mtu: 1400 }
)";

TEST(lab, every_part_of_the_format_is_read) {
  const auto l = parse_lab(full_lab, "lab.yaml");
  ASSERT_TRUE(l) << l.error().to_string();
  EXPECT_EQ(l->seed, 7u);
  ASSERT_EQ(l->hosts.size(), 3u);
  EXPECT_EQ(l->hosts[0].name, "alice");
  EXPECT_EQ(l->hosts[0].cpus, 1u);
  EXPECT_EQ(l->find_host("bob")->cpus, 2u);
  ASSERT_EQ(l->hosts[2].sysctls.size(), 1u);
  EXPECT_EQ(l->hosts[2].sysctls[0].name, "net.ipv4.ip_forward");
  EXPECT_EQ(l->hosts[2].sysctls[0].value, "1");
  EXPECT_EQ(l->find_host("carol"), nullptr);

  ASSERT_EQ(l->links.size(), 2u);
  const lab_link& link = l->links[0];
  EXPECT_EQ(link.ends[0].host, "alice");
  EXPECT_EQ(link.ends[0].dev, "eth0");
  ASSERT_EQ(link.ends[0].addresses.size(), 1u);
  EXPECT_EQ(link.ends[0].addresses[0].to_string(), "10.0.1.2/24");
  EXPECT_EQ(link.ends[1].host, "r1");
  EXPECT_EQ(link.rate.bps, 100'000'000u);
  EXPECT_EQ(link.delay, milliseconds(10));
  EXPECT_EQ(link.jitter, milliseconds(1));
  EXPECT_DOUBLE_EQ(link.loss, 0.005);
  EXPECT_DOUBLE_EQ(link.reorder, 0.01);
  EXPECT_DOUBLE_EQ(link.duplicate, 0.02);
  EXPECT_DOUBLE_EQ(link.corrupt, 1.0);
  EXPECT_EQ(link.queue_packets, 256u);
  EXPECT_EQ(link.mtu, 9000u);
  EXPECT_TRUE(link.jitter_reorders);
  EXPECT_EQ(l->links[1].ends[0].addresses.size(), 2u);
  EXPECT_EQ(l->links[1].rate.bps, 0u);
  EXPECT_EQ(l->links[1].queue_packets, 1000u);
  EXPECT_EQ(l->links[1].mtu, 1500u);
  EXPECT_FALSE(l->links[1].jitter_reorders);

  ASSERT_EQ(l->routes.size(), 3u);
  EXPECT_EQ(l->routes[0].host, "alice");
  EXPECT_EQ(l->routes[0].to.to_string(), "0.0.0.0/0");
  EXPECT_EQ(l->routes[0].via->to_string(), "10.0.1.1");
  EXPECT_EQ(l->routes[1].to.to_string(), "10.1.0.0/16");
  EXPECT_EQ(l->routes[1].dev, "eth0");
  EXPECT_EQ(l->routes[1].metric, 5u);
  EXPECT_EQ(l->routes[1].src->to_string(), "10.0.3.2");
  EXPECT_EQ(l->routes[2].kind, lab_route_kind::blackhole);

  ASSERT_EQ(l->devices.size(), 1u);
  EXPECT_EQ(l->devices[0].host, "r1");
  EXPECT_EQ(l->devices[0].name, "up0");
  EXPECT_EQ(l->devices[0].tap, "ph0");
  EXPECT_EQ(l->devices[0].mtu, 1400u);
  EXPECT_EQ(l->devices[0].address->to_string(), "10.9.0.2/24");
}

TEST(lab, sections_may_stand_in_any_order_and_be_empty) {
  const auto l = parse_lab("links:\n- ends: ['a:e0', 'b:e0']\nroutes:\nhosts: {a: , b: }\n", "f");
  ASSERT_TRUE(l) << l.error().to_string();
  EXPECT_EQ(l->hosts.size(), 2u);
  EXPECT_EQ(l->links.size(), 1u);
  EXPECT_EQ(l->seed, 1u);
}

struct wrong_lab {
  const char* text;
  const char* message;
};

// Shortens the table: two hosts, then the text from line 2 on.
std::string with_hosts(const char* text) {
  return std::string("hosts: { a: {}, b: {} }\n") + text;
}

class lab_errors : public testing::TestWithParam<wrong_lab> {};

TEST_P(lab_errors, say_where_what_and_what_else) {
  const auto l = parse_lab(GetParam().text, "lab.yaml");
  ASSERT_FALSE(l);
  EXPECT_EQ(l.error().to_string(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    whole_file, lab_errors,
    testing::Values(
        wrong_lab{"", "lab.yaml: nothing; expected a map with the key hosts"},
        wrong_lab{",hosts: {a: }\nlinks: []\n",  // makes YAML::LoadAll loop for ever
                  "lab.yaml:1: nothing; expected a map with the key hosts"},
        wrong_lab{"- a\n", "lab.yaml:1: a list; expected a map with the key hosts"},
        wrong_lab{"hosts: {a: }\n---\nhosts: {a: }\n",
                  "lab.yaml:2: a second YAML document; expected one lab a file"},
        wrong_lab{"seed: 1\n",
                  "lab.yaml:1: no hosts; expected a map `hosts` with at least one host"},
        wrong_lab{"hosts: {}\n",
                  "lab.yaml:1: no hosts; expected a map `hosts` with at least one host"},
        wrong_lab{"hosts: { a: {} }\nlinx: []\n",
                  "lab.yaml:2: unknown key `linx` in the lab; expected one of seed, hosts, links, "
                  "routes, devices"},
        wrong_lab{"hosts: { a: {} }\nhosts: { b: {} }\n",
                  "lab.yaml:2: `hosts` twice in the lab; expected each name once"},
        wrong_lab{"hosts:\n  a: {}\n  a: {}\n",
                  "lab.yaml:3: `a` twice in hosts; expected each name once"},
        wrong_lab{"seed: -1\nhosts: { a: {} }\n",
                  "lab.yaml:1: `-1`; expected a number from 0 to 18446744073709551615"},
        wrong_lab{"hosts: { a: {cpus: 0} }\n", "lab.yaml:1: `0`; expected a number from 1 to 64"},
        wrong_lab{"hosts:\n  a:\n    cpus: two\n",
                  "lab.yaml:3: `two`; expected a number from 1 to 64"},
        wrong_lab{"hosts: { a: {cpu: 1} }\n",
                  "lab.yaml:1: unknown key `cpu` in host a; expected one of cpus, sysctl"},
        wrong_lab{"hosts: { a: 7 }\n", "lab.yaml:1: `7`; expected a map: host a"},
        wrong_lab{"hosts: { \"a b\": {} }\n",
                  "lab.yaml:1: host name `a b`; expected 1 to 63 letters, digits, `-`, `_` or "
                  "`.`"},
        wrong_lab{"hosts: { \"-a\": {} }\n",
                  "lab.yaml:1: host name `-a`; expected 1 to 63 letters, digits, `-`, `_` or "
                  "`.`, beginning with a letter, a digit or `_`"},
        wrong_lab{"hosts: { LocalHost: {} }\n",
                  "lab.yaml:1: host name `LocalHost`; expected a name that means nothing else"},
        wrong_lab{"hosts: { 10.0.0.1: {} }\n",
                  "lab.yaml:1: host name `10.0.0.1`; expected a name that means nothing else"},
        wrong_lab{"hosts: { ab: {}, aB: {} }\n",
                  "lab.yaml:1: host names `ab` and `aB`; expected names that differ in more than "
                  "capital letters: they resolve in any case"},
        wrong_lab{"hosts: { a: { sysctl: { kernel.panic: 1 } } }\n",
                  "lab.yaml:1: sysctl `kernel.panic`; expected a name that begins with net."},
        wrong_lab{"hosts: [\n", "lab.yaml:2: not YAML: end of sequence flow not found"}));

struct wrong_part {
  const char* text;
  const char* message;
};

class lab_part_errors : public testing::TestWithParam<wrong_part> {};

TEST_P(lab_part_errors, say_where_what_and_what_else) {
  const auto l = parse_lab(with_hosts(GetParam().text), "lab.yaml");
  ASSERT_FALSE(l);
  EXPECT_EQ(l.error().to_string(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    links, lab_part_errors,
    testing::Values(
        wrong_part{"links: { a: b }\n", "lab.yaml:2: a map; expected a list: links"},
        wrong_part{"links:\n  - ends: [ 'a:eth0' ]\n",
                   "lab.yaml:3: a link without two ends; expected ends: [ \"host:device "
                   "address/length\", \"host:device address/length\" ]"},
        wrong_part{"links:\n  - ends: [ 'a:eth0', 'carol:eth0' ]\n",
                   "lab.yaml:3: unknown host `carol`; expected one of a, b"},
        wrong_part{"links:\n  - ends: [ 'a', 'b:eth0' ]\n",
                   "lab.yaml:3: `a`; expected \"host:device\", then addresses such as "
                   "10.0.1.2/24"},
        wrong_part{"links:\n  - ends: [ 'a:e0', 'b:e0' ]\n  - ends: [ 'b:e1', 'a:e0' ]\n",
                   "lab.yaml:4: device a:e0 again (first on line 3); expected each device once"},
        wrong_part{"links: [{ends: ['a:a234567890123456', 'b:e0']}]\n",
                   "lab.yaml:2: device name `a234567890123456`; expected 1 to 15 letters, digits, "
                   "`-`, `_` or `.`; not lo, all or default"},
        wrong_part{"links: [{ends: ['a:lo', 'b:e0']}]\n",
                   "lab.yaml:2: device name `lo`; expected 1 to 15 letters, digits, `-`, `_` or "
                   "`.`; not lo, all or default"},
        wrong_part{"links: [{ends: ['a:default', 'b:e0']}]\n",
                   "lab.yaml:2: device name `default`; expected 1 to 15 letters, digits, `-`, `_` "
                   "or `.`; not lo, all or default"},
        wrong_part{"links:\n- ends: ['a:e0 10.0.0.1/24', 'b:e0 10.0.0.1/24']\n",
                   "lab.yaml:3: address 10.0.0.1 again (first on line 3); expected each address "
                   "once"},
        wrong_part{"links: [{ends: ['a:e0 10.0.0.1', 'b:e0']}]\n",
                   "lab.yaml:2: `10.0.0.1`; expected an IPv4 address with its prefix length, such "
                   "as 10.0.1.2/24"},
        wrong_part{"links: [{ends: ['a:e0 10.0.0.0/24', 'b:e0']}]\n",
                   "lab.yaml:2: `10.0.0.0/24`; expected an address that a host can have"},
        wrong_part{"links: [{ends: ['a:e0 10.0.0.255/24', 'b:e0']}]\n",
                   "lab.yaml:2: `10.0.0.255/24`; expected an address that a host can have"},
        wrong_part{"links: [{ends: ['a:e0 224.0.0.1/24', 'b:e0']}]\n",
                   "lab.yaml:2: `224.0.0.1/24`; expected an address that a host can have"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], rate: 100}]\n",
                   "lab.yaml:2: `100`; expected a rate such as 100mbit (units: bit, kbit, mbit, "
                   "gbit)"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], rate: 0gbit}]\n",
                   "lab.yaml:2: `0gbit`; expected a rate from 1bit to 1000gbit"},
        wrong_part{"links:\n- ends: ['a:e0', 'b:e0']\n  delay: 10 minutes\n",
                   "lab.yaml:4: `10 minutes`; expected a time such as 10ms (units: ns, us, ms, "
                   "s)"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], loss: 120%}]\n",
                   "lab.yaml:2: `120%`; expected a percentage from 0% to 100%"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], loss: 0.5}]\n",
                   "lab.yaml:2: `0.5`; expected a percentage such as 0.5%"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], delay: 1ms, jitter: 2ms}]\n",
                   "lab.yaml:2: jitter `2ms`; expected at most the link's delay"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], queue: 0}]\n",
                   "lab.yaml:2: `0`; expected a number from 1 to 1000000"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], dely: 1ms}]\n",
                   "lab.yaml:2: unknown key `dely` in a link; expected one of ends, rate, delay, "
                   "jitter, jitter_reorders, loss, reorder, duplicate, corrupt, queue, mtu"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], mtu: 67}]\n",
                   "lab.yaml:2: `67`; expected a number from 68 to 65535"},
        wrong_part{"links: [{ends: ['a:e0', 'b:e0'], delay: 1ms, jitter_reorders: 1}]\n",
                   "lab.yaml:2: `1`; expected yes or no"}));

// Routes and devices of a lab whose hosts share 10.0.0.0/24 (line 2).
std::string with_link(const char* text) {
  return std::string("hosts: { a: {}, b: {} }\n") +
         "links: [{ends: ['a:e0 10.0.0.1/24', 'b:e0 10.0.0.2/24']}]\n" + text;
}

class lab_route_errors : public testing::TestWithParam<wrong_part> {};

TEST_P(lab_route_errors, say_where_what_and_what_else) {
  const auto l = parse_lab(with_link(GetParam().text), "lab.yaml");
  ASSERT_FALSE(l);
  EXPECT_EQ(l.error().to_string(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    routes, lab_route_errors,
    testing::Values(
        wrong_part{"routes: { c: [ default via 10.0.0.2 ] }\n",
                   "lab.yaml:3: unknown host `c`; expected one of a, b"},
        wrong_part{"routes: { a: [ '' ] }\n",
                   "lab.yaml:3: ``; expected a route such as `default via 10.0.1.1` or `blackhole "
                   "10.9.0.0/16`"},
        wrong_part{"routes: { a: [ default ] }\n",
                   "lab.yaml:3: `default`; expected via ADDRESS or dev DEVICE"},
        wrong_part{"routes: { a: [ default via ] }\n",
                   "lab.yaml:3: `via` at the end; expected its value after it"},
        wrong_part{"routes: { a: [ default by 10.0.0.2 ] }\n",
                   "lab.yaml:3: `by`; expected via, dev, src or metric"},
        wrong_part{"routes: { a: [ default dev e0 dev e0 ] }\n",
                   "lab.yaml:3: `dev` twice; expected it once"},
        wrong_part{"routes: { a: [ default dev e7 ] }\n",
                   "lab.yaml:3: device `e7`; expected a device of host a"},
        wrong_part{"routes: { a: [ default via b ] }\n",
                   "lab.yaml:3: `b`; expected an IPv4 address after via"},
        wrong_part{"routes: { a: [ nowhere via 10.0.0.2 ] }\n",
                   "lab.yaml:3: `nowhere`; expected `default` or a prefix such as 10.9.0.0/16"},
        wrong_part{"routes: { a: [ 10.9.1.0/16 via 10.0.0.2 ] }\n",
                   "lab.yaml:3: `10.9.1.0/16` has bits set beyond /16; expected 10.9.0.0/16"},
        wrong_part{"routes: { a: [ default via 10.0.9.2 ] }\n",
                   "lab.yaml:3: gateway 10.0.9.2; expected an address in a subnet of a"},
        wrong_part{"routes: { a: [ default via 10.0.0.1 ] }\n",
                   "lab.yaml:3: gateway 10.0.0.1, which is a itself; expected a neighbour's "
                   "address"},
        wrong_part{"routes: { a: [ default via 10.0.0.2 src 10.0.0.2 ] }\n",
                   "lab.yaml:3: src 10.0.0.2; expected an address of a"},
        wrong_part{"routes: { a: [ blackhole 10.9.0.0/16 via 10.0.0.2 ] }\n",
                   "lab.yaml:3: a next hop on a route that goes nowhere; expected no via and no "
                   "dev"},
        wrong_part{"routes: { a: [ default via 10.0.0.2, default dev e0 ] }\n",
                   "lab.yaml:3: a second route to `default`; expected another metric"},
        wrong_part{"routes: { a: [ default dev e0 metric -1 ] }\n",
                   "lab.yaml:3: `-1`; expected a number from 0 to 4294967295"},
        wrong_part{"routes: { a: default via 10.0.0.2 }\n",
                   "lab.yaml:3: `default via 10.0.0.2`; expected a list: routes"}));

INSTANTIATE_TEST_SUITE_P(
    devices, lab_route_errors,
    testing::Values(
        wrong_part{"devices: [{ host: a, name: up0 }]\n",
                   "lab.yaml:3: a device without tap; expected host, name and tap"},
        wrong_part{"devices: [ up0 ]\n", "lab.yaml:3: `up0`; expected a map: a device"},
        wrong_part{"devices: [{ host: c, name: up0, tap: ph0 }]\n",
                   "lab.yaml:3: unknown host `c`; expected one of a, b"},
        wrong_part{"devices: [{ host: a, name: e0, tap: ph0 }]\n",
                   "lab.yaml:3: device a:e0 again (first on line 2); expected each device once"},
        wrong_part{"devices:\n- { host: a, name: u0, tap: ph0 }\n- { host: b, name: u0, tap: "
                   "ph0 }\n",
                   "lab.yaml:5: TAP ph0 again (first on line 4); expected each TAP once"},
        wrong_part{"devices: [{ host: a, name: u0, tap: a/b }]\n",
                   "lab.yaml:3: TAP name `a/b`; expected 1 to 15 letters, digits, `-`, `_` or "
                   "`.`"},
        wrong_part{"devices: [{ host: a, name: u0, tap: ph0, address: 10.0.0.1/24 }]\n",
                   "lab.yaml:3: address 10.0.0.1 again (first on line 2); expected each address "
                   "once"}));

TEST(lab, more_hosts_than_sane_are_refused) {
  std::string text = "hosts:\n";
  for (int i = 0; i < 1025; ++i) text += "  h" + std::to_string(i) + ": {}\n";
  const auto l = parse_lab(text, "lab.yaml");
  ASSERT_FALSE(l);
  EXPECT_EQ(l.error().to_string(), "lab.yaml:2: 1025 hosts; expected at most 1024");
}

TEST(lab, a_file_that_cannot_be_read_is_named) {
  const auto l = load_lab("/nonexistent/lab.yaml");
  ASSERT_FALSE(l);
  EXPECT_EQ(l.error().to_string(),
            "/nonexistent/lab.yaml: cannot be read: No such file or directory; "
            "expected a lab file");
}

TEST(lab, the_examples_of_the_documentation_are_valid) {
  int examples = 0;
  for (const auto& file : std::filesystem::directory_iterator(PH_SOURCE_DIR "/docs/labs")) {
    const auto l = load_lab(file.path().string());
    EXPECT_TRUE(l) << l.error().to_string();
    ++examples;
  }
  EXPECT_GE(examples, 2);
}

TEST(lab, the_lab_of_a_single_program_is_one_host) {
  const lab l = loopback_lab("localhost");
  ASSERT_EQ(l.hosts.size(), 1u);
  EXPECT_EQ(l.hosts[0].name, "localhost");
  EXPECT_TRUE(l.links.empty());
}

}  // namespace
}  // namespace ph
