// Reading and writing TCP options and whole segments.
#include "wire/tcp.h"

namespace ph {
namespace {

u16 be16_at(byte_view bytes, std::size_t at) { return view_as<be16>(bytes, at)->value(); }
u32 be32_at(byte_view bytes, std::size_t at) { return view_as<be32>(bytes, at)->value(); }

void read_sack(byte_view data, tcp_options_received& out) {
  if (data.empty() || data.size() % tcpolen_sack_perblock != 0) return;
  const std::size_t blocks = std::min(data.size() / tcpolen_sack_perblock, tcp_max_sacks);
  for (std::size_t i = 0; i < blocks; ++i) {
    out.sacks[i] = {seq32(be32_at(data, i * 8)), seq32(be32_at(data, i * 8 + 4))};
  }
  out.num_sacks = static_cast<u8>(blocks);
}

void read_fastopen(byte_view cookie, bool exp, tcp_options_received& out) {
  // RFC 7413 §4.1.1: a cookie has 4 to 16 bytes and an even number of them; none is a request.
  const bool valid = cookie.empty() ||
                     (cookie.size() >= 4 && cookie.size() <= 16 && cookie.size() % 2 == 0);
  if (!valid) return;
  out.fastopen.len = static_cast<s8>(cookie.size());
  out.fastopen.exp = exp;
  out.fastopen.val = {};
  copy_bytes(out.fastopen.val, cookie);
}

void read_syn_option(const tcp_option& o, tcp_options_received& out) {
  switch (o.kind) {
    case tcpopt_mss:
      if (o.data.size() == 2 && be16_at(o.data, 0) != 0) out.mss = be16_at(o.data, 0);
      return;
    case tcpopt_window:
      if (o.data.size() != 1) return;
      out.wscale_ok = true;
      out.snd_wscale = std::min<u8>(o.data[0], uapi::tcp_max_winshift);
      return;
    case tcpopt_sack_perm:
      if (o.data.empty()) out.sack_ok = true;
      return;
    case tcpopt_fastopen: read_fastopen(o.data, false, out); return;
    case tcpopt_exp:
      if (o.data.size() >= 2 && be16_at(o.data, 0) == tcpopt_fastopen_magic) {
        read_fastopen(o.data.subspan(2), true, out);
      }
      return;
    default: return;
  }
}

void read_accecn(const tcp_option& o, tcp_accecn_option& out) {
  // RFC 9768 §3.2.3: of any length, the whole counters count and the rest is padding.
  const std::size_t fields = std::min<std::size_t>(o.data.size() / 3, 3);
  out = {};
  out.present = true;
  out.fields = static_cast<u8>(fields);
  out.ect1_first = o.kind == tcpopt_accecn1;
  u32* const order[] = {out.ect1_first ? &out.e1b : &out.e0b, &out.ceb,
                        out.ect1_first ? &out.e0b : &out.e1b};
  for (std::size_t i = 0; i < fields; ++i) {
    *order[i] = u32{o.data[3 * i]} << 16 | u32{o.data[3 * i + 1]} << 8 | o.data[3 * i + 2];
  }
}

void read_option(const tcp_option& o, bool syn, tcp_options_received& out) {
  switch (o.kind) {
    case tcpopt_timestamp:
      if (o.data.size() != 8) return;
      out.saw_tstamp = true;
      out.rcv_tsval = be32_at(o.data, 0);
      out.rcv_tsecr = be32_at(o.data, 4);
      return;
    case tcpopt_sack: read_sack(o.data, out); return;
    case tcpopt_md5sig:
      if (o.data.size() == tcpolen_md5sig - 2) out.md5_offset = static_cast<u8>(o.at);
      return;
    case tcpopt_ao:
      // RFC 5925 §2.2: both identifiers at least.
      if (o.data.size() < 2) return;
      out.ao_offset = static_cast<u8>(o.at);
      out.ao_bytes = static_cast<u8>(o.data.size());
      return;
    case tcpopt_accecn0:
    case tcpopt_accecn1: read_accecn(o, out.accecn); return;
    default:
      if (syn) read_syn_option(o, out);
  }
}

/// Bytes of the Fast Open option before padding.
std::size_t fastopen_bytes(const tcp_fastopen_cookie& cookie) {
  return (cookie.exp ? 4u : 2u) + cookie.bytes().size();
}

std::size_t accecn_bytes(const tcp_accecn_option& option) {
  return tcpolen_accecn_base + tcpolen_accecn_perfield * std::size_t{option.fields};
}

std::size_t ao_bytes(const tcp_out_options& options) {
  return 4 + std::size_t{options.ao_mac_bytes};
}

void put_octets(byte_writer& out, std::initializer_list<u8> octets) {
  out.put_bytes(byte_view(octets.begin(), octets.size()));
}

void put_timestamps(byte_writer& out, const tcp_out_options& options) {
  if (!options.timestamps) return;
  if (options.sack_permitted) {
    put_octets(out, {tcpopt_sack_perm, tcpolen_sack_perm});
  } else {
    put_octets(out, {tcpopt_nop, tcpopt_nop});
  }
  put_octets(out, {tcpopt_timestamp, tcpolen_timestamp});
  out.put(be32(options.tsval));
  out.put(be32(options.tsecr));
}

void put_sack_permitted(byte_writer& out, const tcp_out_options& options) {
  if (options.timestamps || !options.sack_permitted) return;
  put_octets(out, {tcpopt_nop, tcpopt_nop, tcpopt_sack_perm, tcpolen_sack_perm});
}

void put_sacks(byte_writer& out, const tcp_out_options& options) {
  if (options.num_sacks == 0) return;
  const auto length = static_cast<u8>(2 + tcpolen_sack_perblock * options.num_sacks);
  put_octets(out, {tcpopt_nop, tcpopt_nop, tcpopt_sack, length});
  for (std::size_t i = 0; i < options.num_sacks; ++i) {
    out.put(be32(options.sacks[i].start_seq.raw));
    out.put(be32(options.sacks[i].end_seq.raw));
  }
}

void put_accecn(byte_writer& out, const tcp_accecn_option& option) {
  if (!option.present) return;
  const auto length = static_cast<u8>(accecn_bytes(option));
  put_octets(out, {option.ect1_first ? tcpopt_accecn1 : tcpopt_accecn0, length});
  const u32 order[] = {option.ect1_first ? option.e1b : option.e0b, option.ceb,
                       option.ect1_first ? option.e0b : option.e1b};
  for (std::size_t i = 0; i < option.fields; ++i) {
    put_octets(out, {static_cast<u8>(order[i] >> 16), static_cast<u8>(order[i] >> 8),
                     static_cast<u8>(order[i])});
  }
  for (std::size_t n = length; n % 4 != 0; ++n) put_octets(out, {tcpopt_nop});
}

void put_signature(byte_writer& out, const tcp_out_options& options) {
  if (options.md5) {
    put_octets(out, {tcpopt_nop, tcpopt_nop, tcpopt_md5sig, tcpolen_md5sig});
    out.put(std::array<u8, 16>{});
  } else if (options.ao_mac_bytes != 0) {
    const auto length = static_cast<u8>(ao_bytes(options));
    put_octets(out, {tcpopt_ao, length, options.ao_keyid, options.ao_rnextkeyid});
    for (std::size_t n = 0; n < options.ao_mac_bytes; ++n) put_octets(out, {0});
    for (std::size_t n = length; n % 4 != 0; ++n) put_octets(out, {tcpopt_nop});
  }
}

void put_fastopen(byte_writer& out, const tcp_fastopen_cookie& cookie) {
  if (!cookie.present()) return;
  const auto length = static_cast<u8>(fastopen_bytes(cookie));
  if (cookie.exp) {
    put_octets(out, {tcpopt_exp, length});
    out.put(be16(tcpopt_fastopen_magic));
  } else {
    put_octets(out, {tcpopt_fastopen, length});
  }
  out.put_bytes(cookie.bytes());
  for (std::size_t n = length; n % 4 != 0; ++n) put_octets(out, {tcpopt_nop});
}

}  // namespace

tcp_options_received tcp_parse_options(byte_view options, bool syn) {
  tcp_options_received out;
  tcp_option_reader reader(options);
  for (tcp_option o; reader.next(o);) read_option(o, syn, out);
  return out;
}

std::size_t tcp_options_size(const tcp_out_options& options) {
  std::size_t bytes = 0;
  if (options.md5) {
    bytes += 2 + tcpolen_md5sig;
  } else if (options.ao_mac_bytes != 0) {
    bytes += (ao_bytes(options) + 3) / 4 * 4;
  }
  if (options.mss != 0) bytes += tcpolen_mss;
  if (options.timestamps) {
    bytes += tcpolen_tstamp_aligned;
  } else if (options.sack_permitted) {
    bytes += 4;
  }
  if (options.wscale_ok) bytes += 4;
  if (options.num_sacks != 0) {
    bytes += tcpolen_sack_base_aligned + tcpolen_sack_perblock * options.num_sacks;
  }
  if (options.accecn.present) bytes += (accecn_bytes(options.accecn) + 3) / 4 * 4;
  if (options.fastopen.present()) bytes += (fastopen_bytes(options.fastopen) + 3) / 4 * 4;
  return bytes;
}

std::size_t tcp_options_write(byte_span to, const tcp_out_options& options) {
  ph_check(options.num_sacks <= tcp_max_sacks);
  byte_writer out(to);
  put_signature(out, options);
  if (options.mss != 0) {
    put_octets(out, {tcpopt_mss, tcpolen_mss});
    out.put(be16(options.mss));
  }
  put_timestamps(out, options);
  put_accecn(out, options.accecn);
  put_sack_permitted(out, options);
  if (options.wscale_ok) {
    put_octets(out, {tcpopt_nop, tcpopt_window, tcpolen_window, options.wscale});
  }
  put_sacks(out, options);
  put_fastopen(out, options.fastopen);
  ph_check(out.ok());
  return out.written();
}

std::size_t emit(byte_span to, const tcp_segment& segment, ipv4_addr saddr, ipv4_addr daddr) {
  if (segment.options.size() > tcp_max_option_space) return 0;
  const std::size_t header = sizeof(tcphdr) + (segment.options.size() + 3) / 4 * 4;
  const std::size_t bytes = header + segment.payload.size();
  if (to.size() < bytes || bytes > 65535) return 0;
  tcphdr& th = *view_as<tcphdr>(to);
  th.source.set(segment.source);
  th.dest.set(segment.dest);
  th.seq.set(segment.seq.raw);
  th.ack_seq.set(segment.ack_seq.raw);
  th.set_header_bytes(header);
  if (segment.ae) th.doff_res |= 1;
  th.flags = segment.flags;
  th.window.set(segment.window);
  th.check.set(0);
  th.urg_ptr.set(segment.urg_ptr);
  const byte_span options = to.subspan(sizeof(tcphdr), header - sizeof(tcphdr));
  std::fill(options.begin() + static_cast<std::ptrdiff_t>(copy_bytes(options, segment.options)),
            options.end(), tcpopt_eol);
  copy_bytes(to.subspan(header), segment.payload);
  const auto pseudo =
      csum_pseudo_ipv4(saddr, daddr, uapi::ipproto_tcp, static_cast<u16>(bytes));
  th.check = csum_fold(csum_add_bytes(to.first(bytes), pseudo));
  return bytes;
}

}  // namespace ph
