// TCP headers and options: golden bytes, each field there and back, every truncation, odd options.
#include "wire/tcp.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/wire/golden.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

constexpr ipv4_addr localhost(127, 0, 0, 1);

std::vector<u8> tcp_bytes(const std::vector<u8>& frame) {
  const auto packet = golden::without_link(frame);
  const byte_view payload = ipv4_view::parse(packet)->payload;
  return {payload.begin(), payload.end()};
}

std::vector<u8> emitted(const tcp_segment& segment) {
  std::vector<u8> bytes(60 + segment.payload.size());
  bytes.resize(emit(bytes, segment, localhost, localhost));
  return bytes;
}

std::vector<u8> written(const tcp_out_options& options) {
  std::vector<u8> bytes(tcp_options_size(options));
  EXPECT_EQ(tcp_options_write(bytes, options), bytes.size());
  return bytes;
}

TEST(tcp, golden_syn) {
  const auto bytes = tcp_bytes(golden::syn());
  const auto tcp = tcp_view::parse(bytes);
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->th->source.value(), 54726);
  EXPECT_EQ(tcp->th->dest.value(), 8080);
  EXPECT_EQ(tcp->th->seq.value(), 2747820644u);
  EXPECT_EQ(tcp->th->ack_seq.value(), 0u);
  EXPECT_EQ(tcp->th->doff(), 10u);
  EXPECT_EQ(tcp->th->flags, tcphdr_syn);
  EXPECT_EQ(tcp->th->window.value(), 64240);
  EXPECT_EQ(tcp->th->urg_ptr.value(), 0);
  EXPECT_TRUE(tcp->payload.empty());
  EXPECT_EQ(tcp->segment().seq_len(), 1u);
  EXPECT_EQ(tcp->segment().end_seq(), seq32(2747820645u));
  // The sender left its pseudo header sum in the field for the device to finish.
  const auto pseudo = csum_pseudo_ipv4(localhost, localhost, uapi::ipproto_tcp, 40);
  EXPECT_EQ(static_cast<u16>(~csum_fold(pseudo).value()), tcp->th->check.value());
}

TEST(tcp, golden_segments_are_written_as_they_were_read) {
  for (const auto& frame :
       {golden::syn(), golden::syn_ack(), golden::hello(), golden::fin_ack()}) {
    const auto bytes = tcp_bytes(frame);
    auto again = emitted(tcp_view::parse(bytes)->segment());
    EXPECT_TRUE(tcp_view::parse(again)->checksum_ok(localhost, localhost));
    EXPECT_FALSE(tcp_view::parse(again)->checksum_ok(localhost, ipv4_addr(127, 0, 0, 2)));
    again[16] = bytes[16];
    again[17] = bytes[17];
    EXPECT_EQ(again, bytes);
  }
}

TEST(tcp, golden_options_are_written_as_linux_does) {
  tcp_out_options syn;
  syn.mss = 1460;
  syn.sack_permitted = syn.timestamps = syn.wscale_ok = true;
  syn.tsval = 305448772;
  syn.wscale = 10;
  const auto syn_bytes = tcp_bytes(golden::syn());
  EXPECT_EQ(written(syn), std::vector<u8>(syn_bytes.begin() + 20, syn_bytes.end()));

  tcp_out_options established;
  established.timestamps = true;
  established.tsval = 305448772;
  established.tsecr = 3182474443u;
  const auto fin_bytes = tcp_bytes(golden::fin_ack());
  EXPECT_EQ(written(established), std::vector<u8>(fin_bytes.begin() + 20, fin_bytes.end()));
}

TEST(tcp, golden_options_are_read) {
  const auto bytes = tcp_bytes(golden::syn_ack());
  const auto options = tcp_parse_options(tcp_view::parse(bytes)->options, true);
  tcp_options_received expected;
  expected.mss = 1460;
  expected.sack_ok = expected.saw_tstamp = expected.wscale_ok = true;
  expected.rcv_tsval = 3182474443u;
  expected.rcv_tsecr = 305448772;
  expected.snd_wscale = 10;
  EXPECT_EQ(options, expected);
}

TEST(tcp, each_field_comes_back) {
  const u8 data[] = {1, 2, 3, 4, 5};
  const u8 options[] = {1, 1, 1, 1};
  std::vector<tcp_segment> all(10);
  all[0].source = 0x1234;
  all[1].dest = 0x1234;
  all[2].seq = seq32(0xfedcba98);
  all[3].ack_seq = seq32(0xfedcba98);
  all[4].ae = true;
  all[5].window = 0x1234;
  all[6].urg_ptr = 0x1234;
  all[7].options = options;
  all[8].payload = data;
  for (unsigned bit = 0; bit < 8; ++bit) {
    all.emplace_back();
    all.back().flags = static_cast<u8>(1u << bit);
  }
  for (const tcp_segment& in : all) {
    const auto bytes = emitted(in);
    const auto tcp = tcp_view::parse(bytes);
    ASSERT_TRUE(tcp);
    EXPECT_TRUE(tcp->checksum_ok(localhost, localhost));
    const tcp_segment out = tcp->segment();
    EXPECT_EQ(out.source, in.source);
    EXPECT_EQ(out.dest, in.dest);
    EXPECT_EQ(out.seq, in.seq);
    EXPECT_EQ(out.ack_seq, in.ack_seq);
    EXPECT_EQ(out.flags, in.flags);
    EXPECT_EQ(out.ae, in.ae);
    EXPECT_EQ(out.window, in.window);
    EXPECT_EQ(out.urg_ptr, in.urg_ptr);
    EXPECT_TRUE(std::ranges::equal(out.options, in.options));
    EXPECT_TRUE(std::ranges::equal(out.payload, in.payload));
  }
}

TEST(tcp, flags_have_their_bits) {
  tcphdr th;
  const auto only = [&](u8 bit) {
    th.flags = bit;
    return std::array{th.fin(), th.syn(), th.rst(), th.psh(),
                      th.ack(), th.urg(), th.ece(), th.cwr()};
  };
  for (unsigned bit = 0; bit < 8; ++bit) {
    const auto got = only(static_cast<u8>(1u << bit));
    for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(got[i], i == bit);
  }
  for (std::size_t bytes = 20; bytes <= 60; bytes += 4) {
    th.set_header_bytes(bytes);
    EXPECT_EQ(th.header_bytes(), bytes);
    EXPECT_FALSE(th.ae());
  }
}

TEST(tcp, sequence_length_counts_syn_fin_and_payload) {
  const u8 data[] = {1, 2, 3};
  tcp_segment segment;
  segment.seq = seq32(0xffffffff);
  EXPECT_EQ(segment.seq_len(), 0u);
  segment.payload = data;
  segment.flags = tcphdr_syn | tcphdr_fin;
  EXPECT_EQ(segment.seq_len(), 5u);
  EXPECT_EQ(segment.end_seq(), seq32(4));
}

TEST(tcp, every_truncation_and_every_data_offset) {
  auto bytes = tcp_bytes(golden::syn());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto part = golden::cut(bytes, n);
    EXPECT_EQ(tcp_view::parse(part).error(), errc::badmsg) << n;
    std::vector<u8> room(n);
    EXPECT_EQ(emit(room, tcp_view::parse(bytes)->segment(), localhost, localhost), 0u);
  }
  for (unsigned doff = 0; doff < 16; ++doff) {
    bytes[12] = static_cast<u8>(doff << 4);
    EXPECT_EQ(tcp_view::parse(bytes).has_value(), doff >= 5 && doff <= 10) << doff;
  }
}

// --- options ---

tcp_options_received read(std::string_view hex, bool syn = true) {
  const auto bytes = golden::from_hex(hex);
  return tcp_parse_options(bytes, syn);
}

tcp_options_received only(void (*change)(tcp_options_received&)) {
  tcp_options_received out;
  change(out);
  return out;
}

TEST(tcp_options, nothing_to_read) {
  const tcp_options_received blank;
  EXPECT_EQ(read(""), blank);
  EXPECT_EQ(read("01010101"), blank);
  EXPECT_EQ(read("00 020405b4"), blank);  // EOL ends the list
}

TEST(tcp_options, mss) {
  EXPECT_EQ(read("020405b4"), only([](auto& o) { o.mss = 1460; }));
  EXPECT_EQ(read("02040000").mss, 0);
  EXPECT_EQ(read("020305 00").mss, 0);        // wrong length: passed over
  EXPECT_EQ(read("020505b400 00").mss, 0);
  EXPECT_EQ(read("020405b4", false).mss, 0);  // not on a SYN
}

TEST(tcp_options, window_scale_is_limited_to_14) {
  EXPECT_EQ(read("030307"), only([](auto& o) { o.wscale_ok = true; o.snd_wscale = 7; }));
  EXPECT_EQ(read("03030f").snd_wscale, 14);
  EXPECT_EQ(read("0303ff").snd_wscale, 14);
  EXPECT_TRUE(read("030300").wscale_ok);
  EXPECT_FALSE(read("03040700").wscale_ok);
  EXPECT_FALSE(read("030307", false).wscale_ok);
}

TEST(tcp_options, sack_permitted) {
  EXPECT_TRUE(read("0402").sack_ok);
  EXPECT_FALSE(read("040300").sack_ok);
  EXPECT_FALSE(read("0402", false).sack_ok);
}

TEST(tcp_options, timestamps_on_any_segment) {
  for (const bool syn : {false, true}) {
    EXPECT_EQ(read("080a01020304 a0b0c0d0", syn), only([](auto& o) {
                o.saw_tstamp = true;
                o.rcv_tsval = 0x01020304;
                o.rcv_tsecr = 0xa0b0c0d0;
              }));
  }
  EXPECT_FALSE(read("080901020304 a0b0c0").saw_tstamp);
}

TEST(tcp_options, sack_blocks) {
  EXPECT_EQ(read("050a 00000001 00000002", false), only([](auto& o) {
              o.num_sacks = 1;
              o.sacks[0] = {seq32(1), seq32(2)};
            }));
  const auto four =
      read("0522 0000000100000002 0000000300000004 0000000500000006 ffffffff00000008", false);
  EXPECT_EQ(four.num_sacks, 4);
  EXPECT_EQ(four.sacks[3], (tcp_sack_block{seq32(0xffffffff), seq32(8)}));
  EXPECT_EQ(read("0502", false).num_sacks, 0);
  EXPECT_EQ(read("0509 00000001 000000", false).num_sacks, 0);
  EXPECT_EQ(read("050b 00000001 00000002 00", false).num_sacks, 0);
}

TEST(tcp_options, md5_digest_position) {
  EXPECT_EQ(read("0101 1312 00112233445566778899aabbccddeeff").md5_offset, 24);
  EXPECT_EQ(read("0101 1311 00112233445566778899aabbccddee").md5_offset, 0);
}

TEST(tcp_options, fast_open_cookies) {
  EXPECT_FALSE(read("").fastopen.present());
  const auto request = read("2202");
  EXPECT_TRUE(request.fastopen.present());
  EXPECT_EQ(request.fastopen.len, 0);
  const auto cookie = read("220a 0102030405060708");
  EXPECT_EQ(cookie.fastopen.len, 8);
  EXPECT_FALSE(cookie.fastopen.exp);
  EXPECT_EQ(cookie.fastopen.bytes()[7], 8);
  EXPECT_FALSE(read("2204 0102").fastopen.present());             // too short
  EXPECT_FALSE(read("2207 0102030405").fastopen.present());       // odd
  EXPECT_EQ(read("2212 000102030405060708090a0b0c0d0e0f").fastopen.len, 16);
  EXPECT_FALSE(read("2214 000102030405060708090a0b0c0d0e0f1011").fastopen.present());
  EXPECT_FALSE(read("220a 0102030405060708", false).fastopen.present());
  const auto experimental = read("fe08 f989 01020304");
  EXPECT_TRUE(experimental.fastopen.exp);
  EXPECT_EQ(experimental.fastopen.len, 4);
  EXPECT_FALSE(read("fe08 f98a 01020304").fastopen.present());
  EXPECT_FALSE(read("fe03 f9").fastopen.present());
}

TEST(tcp_options, unknown_kinds_are_passed_over) {
  EXPECT_EQ(read("fd04abcd 020405b4"), only([](auto& o) { o.mss = 1460; }));
}

TEST(tcp_options, a_bad_length_ends_the_reading_and_keeps_what_was_read) {
  const auto mss = only([](auto& o) { o.mss = 1460; });
  EXPECT_EQ(read("020405b4 fd00 0402"), mss);
  EXPECT_EQ(read("020405b4 fd01 0402"), mss);
  EXPECT_EQ(read("020405b4 fd05 0402"), mss);  // one beyond the end
  EXPECT_EQ(read("020405b4 08"), mss);         // no length octet
}

TEST(tcp_options, every_truncation_reads_a_prefix) {
  const auto bytes = tcp_bytes(golden::syn());
  const byte_view options = tcp_view::parse(bytes)->options;
  for (std::size_t n = 0; n <= options.size(); ++n) {
    const auto part = golden::cut(options, n);
    const auto got = tcp_parse_options(part, true);
    EXPECT_EQ(got.mss != 0, n >= 4);
    EXPECT_EQ(got.sack_ok, n >= 6);
    EXPECT_EQ(got.saw_tstamp, n >= 16);
    EXPECT_EQ(got.wscale_ok, n >= 20);
  }
}

TEST(tcp_options, aligned_timestamp) {
  u32 tsval = 1, tsecr = 2;
  const auto good = golden::from_hex("0101080a 00000005 00000006");
  EXPECT_TRUE(tcp_parse_aligned_timestamp(good, tsval, tsecr));
  EXPECT_EQ(tsval, 5u);
  EXPECT_EQ(tsecr, 6u);
  for (std::size_t n = 0; n < good.size(); ++n) {
    EXPECT_FALSE(tcp_parse_aligned_timestamp(golden::cut(good, n), tsval, tsecr));
  }
  for (std::size_t at = 0; at < 4; ++at) {
    auto bad = good;
    bad[at] ^= 1;
    EXPECT_FALSE(tcp_parse_aligned_timestamp(bad, tsval, tsecr));
  }
  EXPECT_EQ(tsval, 5u);
}

// --- writing options ---

TEST(tcp_options, layouts) {
  tcp_out_options o;
  EXPECT_TRUE(written(o).empty());
  o.sack_permitted = true;
  EXPECT_EQ(written(o), golden::from_hex("01010402"));
  o.wscale_ok = true;
  o.wscale = 7;
  EXPECT_EQ(written(o), golden::from_hex("01010402 01030307"));
  o = {};
  o.timestamps = true;
  o.tsval = 1;
  o.tsecr = 2;
  o.num_sacks = 2;
  o.sacks[0] = {seq32(0x10), seq32(0x20)};
  o.sacks[1] = {seq32(0x30), seq32(0x40)};
  EXPECT_EQ(written(o), golden::from_hex("0101080a 00000001 00000002"
                                         "01010512 00000010 00000020 00000030 00000040"));
  o = {};
  o.mss = 1460;
  o.fastopen.len = 0;
  EXPECT_EQ(written(o), golden::from_hex("020405b4 22020101"));
  o.fastopen.len = 8;
  o.fastopen.val = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(written(o), golden::from_hex("020405b4 220a0102030405060708 0101"));
  o.fastopen.exp = true;
  EXPECT_EQ(written(o), golden::from_hex("020405b4 fe0cf9890102030405060708"));
  o = {};
  o.md5 = true;
  EXPECT_EQ(written(o), golden::from_hex("01011312 00000000 00000000 00000000 00000000"));
}

tcp_out_options random_options(rng& random) {
  tcp_out_options o;
  if (random.chance(0.5)) o.mss = static_cast<u16>(random.below(65535) + 1);
  if ((o.wscale_ok = random.chance(0.5))) o.wscale = static_cast<u8>(random.below(15));
  o.sack_permitted = random.chance(0.5);
  if ((o.timestamps = random.chance(0.5))) {
    o.tsval = random.next32();
    o.tsecr = random.next32();
  }
  o.num_sacks = static_cast<u8>(random.below(5));
  for (std::size_t i = 0; i < o.num_sacks; ++i) {
    o.sacks[i] = {seq32(random.next32()), seq32(random.next32())};
  }
  if (random.chance(0.3)) {
    o.fastopen.len = static_cast<s8>(random.chance(0.5) ? 0 : 4 + 2 * random.below(7));
    o.fastopen.exp = random.chance(0.5);
    for (std::size_t i = 0; i < o.fastopen.bytes().size(); ++i) {
      o.fastopen.val[i] = static_cast<u8>(random.next());
    }
  }
  o.md5 = random.chance(0.2);
  return o;
}

TEST(tcp_options, whatever_is_written_is_read_back) {
  rng random(11);
  for (int i = 0; i < 20000; ++i) {
    const tcp_out_options in = random_options(random);
    const auto bytes = written(in);
    ASSERT_EQ(bytes.size() % 4, 0u);
    const auto out = tcp_parse_options(bytes, true);
    ASSERT_EQ(out.mss, in.mss);
    ASSERT_EQ(out.wscale_ok, in.wscale_ok);
    ASSERT_EQ(out.snd_wscale, in.wscale);
    ASSERT_EQ(out.sack_ok, in.sack_permitted);
    ASSERT_EQ(out.saw_tstamp, in.timestamps);
    ASSERT_EQ(out.rcv_tsval, in.tsval);
    ASSERT_EQ(out.rcv_tsecr, in.tsecr);
    ASSERT_EQ(out.num_sacks, in.num_sacks);
    ASSERT_EQ(out.sacks, in.sacks);
    ASSERT_EQ(out.md5_offset != 0, in.md5);
    ASSERT_EQ(out.fastopen.present(), in.fastopen.present());
    ASSERT_EQ(out.fastopen.len, in.fastopen.len);
    ASSERT_EQ(out.fastopen.val, in.fastopen.val);
    if (in.fastopen.present()) {
      ASSERT_EQ(out.fastopen.exp, in.fastopen.exp);
    }
  }
}

}  // namespace
}  // namespace ph
