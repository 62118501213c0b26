// What happens to IP options on the way (RFC 791 §3.1, RFC 1122 §3.2.1.8, RFC 1812 §5.3.13).
#pragma once

#include "net/core/skbuff.h"
#include "wire/ipv4.h"

namespace ph {

/// Checks the options of a received packet (network header at data). On an error the sender is
/// told (parameter problem) and the reason to drop is returned; none: go on.
skb_drop_reason ip_rcv_options(cpu& cx, sk_buff& skb);
/// Enters our address and the time where a record route or timestamp option has room, and
/// repairs the header checksum. Makes the header private.
void ip_options_record(cpu& cx, sk_buff& skb, ipv4_addr addr);
/// The options for an answer: record route and timestamp as they are, nothing else.
std::vector<u8> ip_options_echo(byte_view options);
/// Options of fragments after the first: those without the copy bit become no-operations.
void ip_options_fragment(byte_span options);

}  // namespace ph
