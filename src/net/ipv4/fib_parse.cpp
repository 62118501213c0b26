// The words of `ip route` as a fib_route (ip-route(8)).
#include <charconv>
#include <optional>

#include "net/core/net_namespace.h"
#include "net/ipv4/fib.h"

namespace ph {
namespace {

class word_list {
 public:
  explicit word_list(std::string_view text) : rest_(text) {}
  /// The next word, empty at the end.
  std::string_view next() {
    const std::size_t begin = rest_.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) return rest_ = {};
    const std::size_t end = std::min(rest_.find_first_of(" \t\n", begin), rest_.size());
    const std::string_view word = rest_.substr(begin, end - begin);
    rest_.remove_prefix(end);
    return word;
  }

 private:
  std::string_view rest_;
};

std::optional<u32> number(std::string_view word) {
  u32 out = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  if (error != std::errc{} || end != word.data() + word.size() || word.empty()) return {};
  return out;
}

std::optional<route_type> type_word(std::string_view word) {
  constexpr std::pair<std::string_view, route_type> types[] = {
      {"unicast", route_type::unicast}, {"local", route_type::local},
      {"broadcast", route_type::broadcast}, {"blackhole", route_type::blackhole},
      {"unreachable", route_type::unreachable}, {"prohibit", route_type::prohibit},
      {"throw", route_type::throw_}};
  for (const auto& [name, type] : types) {
    if (name == word) return type;
  }
  return {};
}

class route_parser {
 public:
  route_parser(net_namespace& net, std::string_view text, std::string* why)
      : net_(net), words_(text), text_(text), why_(why) {}
  result<fib_route> parse();

 private:
  tl::unexpected<errc> refuse(std::string_view what, std::string_view word) {
    if (why_ != nullptr) {
      *why_ = std::string(what) + " \"" + std::string(word) + "\" in route \"" +
              std::string(text_) + "\"";
    }
    return fail(errc::inval);
  }
  fib_nh& hop() {
    if (route_.nexthops.empty()) route_.nexthops.emplace_back();
    return route_.nexthops.back();
  }
  result<void> destination(std::string_view word);
  result<void> attribute(std::string_view name);
  result<void> next_hop_word(std::string_view name, std::string_view value);
  result<void> other_word(std::string_view name, std::string_view value);
  bool set_number(std::string_view name, u32 value);
  void finish();

  net_namespace& net_;
  word_list words_;
  std::string_view text_;
  std::string* why_;
  fib_route route_;
  bool scope_given_ = false, table_given_ = false;
};

result<void> route_parser::destination(std::string_view word) {
  if (word == "default" || word == "any") return {};
  const auto prefix = ipv4_prefix::parse(word);
  if (!prefix) return refuse("bad destination", word);
  route_.dst = *prefix;
  return {};
}

result<void> route_parser::next_hop_word(std::string_view name, std::string_view value) {
  if (name == "dev") {
    const net_device* dev = net_.device(value);
    if (dev == nullptr) return refuse("no such device", value);
    hop().oif = dev->index();
    return {};
  }
  const auto gateway = ipv4_addr::parse(value);
  if (!gateway) return refuse("bad gateway", value);
  hop().gateway = *gateway;
  return {};
}

bool route_parser::set_number(std::string_view name, u32 value) {
  route_metrics& m = route_.metrics;
  constexpr std::pair<std::string_view, u32 route_metrics::*> metrics[] = {
      {"mtu", &route_metrics::mtu}, {"window", &route_metrics::window},
      {"rtt", &route_metrics::rtt_ms}, {"advmss", &route_metrics::advmss},
      {"initcwnd", &route_metrics::initcwnd}, {"initrwnd", &route_metrics::initrwnd},
      {"rto_min", &route_metrics::rto_min_ms}, {"cwnd", &route_metrics::cwnd},
      {"ssthresh", &route_metrics::ssthresh}, {"reordering", &route_metrics::reordering},
      {"quickack", &route_metrics::quickack}};
  for (const auto& [known, member] : metrics) {
    if (known != name) continue;
    m.*member = value;
    return true;
  }
  if (name == "metric" || name == "preference" || name == "priority") {
    route_.priority = value;
  } else if (name == "tos" && value < 256) {
    route_.tos = static_cast<u8>(value);
  } else if (name == "weight" && value >= 1 && value <= 256) {
    hop().weight = static_cast<u8>(value - (value == 256 ? 1 : 0));
  } else if (name == "proto" && value < 256) {
    route_.protocol = static_cast<u8>(value);
  } else {
    return false;
  }
  return true;
}

result<void> route_parser::other_word(std::string_view name, std::string_view value) {
  if (name == "src") {
    const auto source = ipv4_addr::parse(value);
    if (!source) return refuse("bad source", value);
    route_.prefsrc = *source;
  } else if (name == "scope") {
    scope_given_ = true;
    if (value == "global" || value == "universe") route_.scope = route_scope::universe;
    else if (value == "site") route_.scope = route_scope::site;
    else if (value == "link") route_.scope = route_scope::link;
    else if (value == "host") route_.scope = route_scope::host;
    else return refuse("bad scope", value);
  } else if (name == "table") {
    table_given_ = true;
    if (value == "main") route_.table = route_table::main;
    else if (value == "local") route_.table = route_table::local;
    else if (value == "default") route_.table = route_table::default_;
    else return refuse("no such table", value);
  } else if (name == "congctl") {
    route_.metrics.congestion = value;
  } else if (name == "features" && value == "ecn") {
    route_.metrics.ecn = true;
  } else {
    if (name == "proto" && (value == "static" || value == "kernel" || value == "boot")) {
      route_.protocol = value == "static" ? 4 : value == "kernel" ? 2 : 3;
      return {};
    }
    std::string_view digits = value;
    const bool time = name == "rtt" || name == "rto_min";
    if (time && digits.ends_with("ms")) digits.remove_suffix(2);
    const auto n = number(digits);
    if (!n || !set_number(name, *n)) return refuse("cannot understand", name);
  }
  return {};
}

result<void> route_parser::attribute(std::string_view name) {
  if (name == "onlink") {
    hop().onlink = true;
    return {};
  }
  if (name == "nexthop") {
    route_.nexthops.emplace_back();
    return {};
  }
  std::string_view value = words_.next();
  if (value.empty()) return refuse("nothing behind", name);
  if (name == "via" && value == "inet") value = words_.next();
  if (value == "lock") {
    if (name == "mtu") route_.metrics.lock_mtu = true;
    if (name == "cwnd") route_.metrics.lock_cwnd = true;
    value = words_.next();
  }
  if (name == "dev" || name == "via") return next_hop_word(name, value);
  return other_word(name, value);
}

/// The defaults ip-route(8) gives: scope by what the route is, table by its type.
void route_parser::finish() {
  const bool on_host = route_.type == route_type::local;
  const bool on_link = route_.type == route_type::broadcast;
  if (!scope_given_ && on_host) route_.scope = route_scope::host;
  if (!scope_given_ && on_link) route_.scope = route_scope::link;
  if (!scope_given_ && route_.type == route_type::unicast) {
    bool gateways = false;
    for (const fib_nh& nh : route_.nexthops) gateways = gateways || !nh.gateway.is_any();
    route_.scope = gateways ? route_scope::universe : route_scope::link;
  }
  if (!table_given_ && (on_host || on_link)) route_.table = route_table::local;
}

result<fib_route> route_parser::parse() {
  std::string_view word = words_.next();
  if (const auto type = type_word(word)) {
    route_.type = *type;
    word = words_.next();
  }
  if (word.empty()) return refuse("no destination", word);
  TRY_VOID(destination(word));
  for (word = words_.next(); !word.empty(); word = words_.next()) TRY_VOID(attribute(word));
  finish();
  return std::move(route_);
}

}  // namespace

result<fib_route> fib_route_parse(net_namespace& net, std::string_view text, std::string* why) {
  return route_parser(net, text, why).parse();
}

}  // namespace ph
