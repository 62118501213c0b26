// IPv4 headers and options: golden bytes, each field there and back, every truncation, every fault.
#include "wire/ipv4.h"

#include <gtest/gtest.h>

#include "tests/wire/golden.h"

namespace ph {
namespace {

std::vector<u8> emitted(const ipv4_header& header, std::size_t payload = 0) {
  std::vector<u8> bytes(60 + payload);
  bytes.resize(emit(bytes, header, payload));
  return bytes;
}

TEST(ipv4, golden_header) {
  const auto bytes = golden::without_link(golden::syn());
  const auto ip = ipv4_view::parse(bytes);
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->iph->version(), 4u);
  EXPECT_EQ(ip->iph->ihl(), 5u);
  EXPECT_EQ(ip->iph->tos, 0);
  EXPECT_EQ(ip->iph->tot_len.value(), 60);
  EXPECT_EQ(ip->iph->id.value(), 0x2b54);
  EXPECT_TRUE(ip->iph->dont_fragment());
  EXPECT_FALSE(ip->iph->more_fragments());
  EXPECT_FALSE(ip->iph->is_fragment());
  EXPECT_EQ(ip->iph->ttl, 64);
  EXPECT_EQ(ip->iph->protocol, uapi::ipproto_tcp);
  EXPECT_EQ(ip->iph->check.value(), 0x1166);
  EXPECT_EQ(ip->iph->saddr, ipv4_addr(127, 0, 0, 1));
  EXPECT_EQ(ip->iph->daddr, ipv4_addr(127, 0, 0, 1));
  EXPECT_TRUE(ip->checksum_ok());
  EXPECT_TRUE(ip->options.empty());
  EXPECT_EQ(ip->payload.size(), 40u);
  EXPECT_EQ(emitted(ip->header(), 40), golden::cut(bytes, 20));
}

TEST(ipv4, golden_header_with_options) {
  const auto bytes = golden::without_link(golden::echo_request());
  const auto ip = ipv4_view::parse(bytes);
  ASSERT_TRUE(ip);
  EXPECT_TRUE(ip->checksum_ok());
  EXPECT_EQ(ip->options.size(), 12u);
  EXPECT_EQ(ip->payload.size(), 16u);
  EXPECT_EQ(emitted(ip->header(), 16), golden::cut(bytes, 32));
}

void expect_comes_back(const ipv4_header& in, std::size_t payload = 0) {
  auto bytes = emitted(in, payload);
  ASSERT_FALSE(bytes.empty());
  bytes.resize(bytes.size() + payload);
  const auto ip = ipv4_view::parse(bytes);
  ASSERT_TRUE(ip);
  EXPECT_TRUE(ip->checksum_ok());
  EXPECT_EQ(ip->payload.size(), payload);
  const ipv4_header out = ip->header();
  EXPECT_EQ(out.tos, in.tos);
  EXPECT_EQ(out.id, in.id);
  EXPECT_EQ(out.dont_fragment, in.dont_fragment);
  EXPECT_EQ(out.more_fragments, in.more_fragments);
  EXPECT_EQ(out.fragment_offset, in.fragment_offset);
  EXPECT_EQ(out.ttl, in.ttl);
  EXPECT_EQ(out.protocol, in.protocol);
  EXPECT_EQ(out.saddr, in.saddr);
  EXPECT_EQ(out.daddr, in.daddr);
}

TEST(ipv4, each_field_comes_back) {
  ipv4_header header;
  header.ttl = 0;
  expect_comes_back(header);
  std::vector<ipv4_header> all(9, header);
  all[0].tos = 0xa5;
  all[1].id = 0x1234;
  all[2].dont_fragment = true;
  all[3].more_fragments = true;
  all[4].fragment_offset = 65528;
  all[5].ttl = 0xfe;
  all[6].protocol = 0x84;
  all[7].saddr = ipv4_addr(1, 2, 3, 4);
  all[8].daddr = ipv4_addr(5, 6, 7, 8);
  for (const ipv4_header& one : all) expect_comes_back(one);
  expect_comes_back(header, 1480);
  EXPECT_TRUE(view_as<iphdr>(byte_view(emitted(all[3])))->is_fragment());
  EXPECT_TRUE(view_as<iphdr>(byte_view(emitted(all[4])))->is_fragment());
  EXPECT_EQ(view_as<iphdr>(byte_view(emitted(all[4])))->fragment_offset(), 65528u);
}

TEST(ipv4, options_of_every_length_are_padded_with_zeros) {
  for (std::size_t n = 0; n <= 40; ++n) {
    const std::vector<u8> options(n, uapi::ipopt_noop);
    ipv4_header header;
    header.options = options;
    const auto bytes = emitted(header);
    const auto ip = ipv4_view::parse(bytes);
    ASSERT_TRUE(ip);
    EXPECT_TRUE(ip->checksum_ok());
    auto padded = options;
    padded.resize((n + 3) / 4 * 4, 0);
    EXPECT_EQ(std::vector<u8>(ip->options.begin(), ip->options.end()), padded);
  }
  const std::vector<u8> too_long(41, uapi::ipopt_noop);
  ipv4_header header;
  header.options = too_long;
  EXPECT_TRUE(emitted(header).empty());
}

TEST(ipv4, emit_refuses_what_does_not_fit) {
  for (std::size_t n = 0; n < 20; ++n) {
    std::vector<u8> room(n);
    EXPECT_EQ(emit(room, ipv4_header{}, 0), 0u);
  }
  EXPECT_FALSE(emitted({}, 65515).empty());
  EXPECT_TRUE(emitted({}, 65516).empty());
}

TEST(ipv4, every_truncation_is_refused) {
  const auto bytes = golden::without_link(golden::echo_request());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto part = golden::cut(bytes, n);
    const auto ip = ipv4_view::parse(part);
    ASSERT_FALSE(ip) << n;
    EXPECT_EQ(ip.error(), n < 32 ? errc::badmsg : errc::msgsize) << n;
  }
}

TEST(ipv4, bytes_after_tot_len_are_cut_off) {
  auto bytes = golden::without_link(golden::udp_ping());
  bytes.resize(46);
  EXPECT_EQ(ipv4_view::parse(bytes)->payload.size(), 12u);
}

TEST(ipv4, impossible_headers_are_refused) {
  const auto with = [](std::size_t at, u8 value) {
    auto bytes = golden::without_link(golden::syn());
    bytes[at] = value;
    const auto ip = ipv4_view::parse(bytes);
    return ip ? errc::ok : ip.error();
  };
  for (unsigned version = 0; version < 16; ++version) {
    for (unsigned ihl = 0; ihl < 16; ++ihl) {
      const errc got = with(0, static_cast<u8>(version << 4 | ihl));
      EXPECT_EQ(got, version == 4 && ihl >= 5 ? errc::ok : errc::badmsg) << version << ihl;
    }
  }
  for (unsigned total = 0; total < 256; ++total) {
    const errc got = with(3, static_cast<u8>(total));
    EXPECT_EQ(got, total < 20 ? errc::badmsg : total > 60 ? errc::msgsize : errc::ok) << total;
  }
}

TEST(ipv4, every_flipped_bit_breaks_the_checksum) {
  const auto bytes = golden::without_link(golden::echo_request());
  for (std::size_t bit = 0; bit < 32 * 8; ++bit) {
    auto bad = golden::cut(bytes, 32);
    bad[bit / 8] = static_cast<u8>(bad[bit / 8] ^ (1u << (bit % 8)));
    EXPECT_FALSE(csum_ok(csum_add_bytes(bad))) << bit;
  }
}

// --- options ---

struct options_case {
  const char* name;
  const char* hex;
  int error;  ///< offset in the header, or -1
  ipv4_options expected;
};

ipv4_options with(void (*change)(ipv4_options&)) {
  ipv4_options out;
  change(out);
  return out;
}

const options_case option_cases[] = {
    {"none", "", -1, {}},
    {"padding only", "01010000", -1, {}},
    {"after EOL nothing counts", "0007ff00", -1, {}},
    {"record route with room", "070704 00000000 00", -1, with([](auto& o) {
       o.rr = 20;
       o.rr_has_room = true;
     })},
    {"record route full", "070708 01020304 00", -1, with([](auto& o) { o.rr = 20; })},
    {"record route after NOP", "01 070704 00000000", -1, with([](auto& o) {
       o.rr = 21;
       o.rr_has_room = true;
     })},
    {"record route, pointer 3", "070703 00000000 00", 22, {}},
    {"record route, pointer leaves no room for an address", "070705 00000000 00", 22, {}},
    {"record route of 2 bytes", "0702 0000", 21, {}},
    {"two record routes", "070704 00000000 070704 00000000 0000", 27, {}},
    {"loose source route", "830704 01020304 00", -1, with([](auto& o) { o.srr = 20; })},
    {"strict source route", "890704 01020304 00", -1, with([](auto& o) {
       o.srr = 20;
       o.strict = true;
     })},
    {"source route, pointer 3", "830703 01020304 00", 22, {}},
    {"source route of 2 bytes", "8302 0000", 21, {}},
    {"two source routes", "830704 01020304 890704 01020304 0000", 27, {}},
    {"timestamps with room", "44080500 00000000", -1, with([](auto& o) {
       o.ts = 20;
       o.ts_has_room = true;
     })},
    {"timestamps full", "44080900 00000000", -1, with([](auto& o) { o.ts = 20; })},
    {"timestamps full, overflow 14", "440809e0 00000000", -1, with([](auto& o) { o.ts = 20; })},
    {"timestamps full, overflow 15", "440809f0 00000000", 23, {}},
    {"prespecified full, overflow 15", "440809f3 00000000", -1, with([](auto& o) {
       o.ts = 20;
       o.ts_flags = 3;
     })},
    {"timestamps, unknown flags without room", "44070502 000000", 22, {}},
    {"timestamps and addresses", "440c0501 00000000 00000000", -1, with([](auto& o) {
       o.ts = 20;
       o.ts_has_room = true;
       o.ts_flags = 1;
     })},
    {"timestamps, prespecified", "440c0503 01020304 00000000", -1, with([](auto& o) {
       o.ts = 20;
       o.ts_has_room = true;
       o.ts_flags = 3;
     })},
    {"timestamps and addresses without room for both", "44080501 00000000", 22, {}},
    {"timestamps, unknown flags", "44080502 00000000", -1, with([](auto& o) {
       o.ts = 20;
       o.ts_flags = 2;
     })},
    {"timestamps, pointer 4", "44080400 00000000", 22, {}},
    {"timestamps, pointer off by one", "44080600 00000000", 22, {}},
    {"timestamps of 3 bytes", "440305 00", 21, {}},
    {"two timestamps", "44080500 00000000 44080500 00000000", 28, {}},
    {"router alert", "94040000", -1, with([](auto& o) { o.router_alert = 20; })},
    {"router alert with another value", "94040001", -1, {}},
    {"router alert of 3 bytes", "940300 00", 21, {}},
    {"CIPSO", "8606 00000001 0000", -1, with([](auto& o) { o.cipso = 20; })},
    {"two CIPSO", "8606 00000001 8606 00000001", 26, {}},
    {"unknown option is passed over", "1e0412 34 94040000", -1,
     with([](auto& o) { o.router_alert = 24; })},
    {"length 0", "1e000000", 20, {}},
    {"length 1", "1e010000", 20, {}},
    {"length past the end", "01011e03", 22, {}},
    {"no length octet", "0101011e", 23, {}},
};

TEST(ipv4_options, table) {
  for (const options_case& c : option_cases) {
    const auto bytes = golden::from_hex(c.hex);
    const auto got = parse_ipv4_options(bytes);
    ASSERT_EQ(got.has_value(), c.error < 0) << c.name;
    if (got) {
      EXPECT_EQ(*got, c.expected) << c.name;
    } else {
      EXPECT_EQ(got.error(), c.error) << c.name;
    }
  }
}

TEST(ipv4_options, golden_record_route) {
  const auto request = golden::without_link(golden::echo_request());
  const auto got = parse_ipv4_options(ipv4_view::parse(request)->options);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->rr, 20);
  EXPECT_TRUE(got->rr_has_room);
  const auto reply = golden::without_link(golden::echo_reply());
  EXPECT_FALSE(parse_ipv4_options(ipv4_view::parse(reply)->options)->rr_has_room);
}

TEST(ipv4_options, truncation_never_reads_past_the_end) {
  for (const options_case& c : option_cases) {
    const auto bytes = golden::from_hex(c.hex);
    for (std::size_t n = 0; n <= bytes.size(); ++n) {
      const auto part = golden::cut(bytes, n);
      const auto got = parse_ipv4_options(part);
      if (!got) {
        EXPECT_LT(got.error(), 20 + n) << c.name;
      }
    }
  }
}

}  // namespace
}  // namespace ph
