// A packet as one line of text in the manner of tcpdump -n: for traces, tests and people.
//
// Safe for any bytes: what cannot be read is said to be so. Verifies no checksums (packets inside
// the stack may not have theirs yet). Sequence numbers are absolute.
#pragma once

#include <string>

#include "wire/inet_addr.h"

namespace ph {

/// An Ethernet frame: "IP 10.0.0.1.1025 > 10.0.0.2.80: Flags [S], seq 1, win 64240, ... length 0",
/// "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28". A VLAN tag is told first.
std::string print_ethernet(byte_view frame);
/// A packet that begins with its IPv4 header.
std::string print_ipv4(byte_view packet);
/// A packet of the given ethertype (host order) without its link header.
std::string print_packet(u16 ethertype, byte_view packet);
/// "mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7": the option bytes of a TCP header.
std::string print_tcp_options(byte_view options);

}  // namespace ph
