// Lab files: YAML in, a checked `lab` out. Every complaint names the line, what stands there and
// what would be right. Nothing is guessed: an unknown key, a number without its unit, an address
// or a name used twice is an error, because a lab that differs from its file wastes an afternoon.
#include "daemon/lab.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "daemon/units.h"

namespace ph {
namespace {

constexpr std::size_t max_file_bytes = 4 << 20;
constexpr std::size_t max_hosts = 1024;
constexpr std::size_t max_links = 8192;
constexpr std::size_t max_routes = 65536;
constexpr std::size_t max_devices = 64;
constexpr std::size_t max_device_addresses = 64;
constexpr u64 max_cpus = 64;
constexpr u64 max_queue_packets = 1'000'000;
constexpr u64 min_mtu = 68, max_mtu = 65535;  // what an Ethernet device of ours can be given
constexpr std::size_t max_device_name = 15;   // IFNAMSIZ without its final zero
constexpr std::size_t max_host_name = 63;

/// How the file's author wrote it, short enough for one line of a terminal.
std::string quote(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string out = "`";
  for (const char c : text.substr(0, longest)) {
    out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  }
  return out + (text.size() > longest ? "...`" : "`");
}

std::string describe(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar: return quote(node.Scalar());
    case YAML::NodeType::Sequence: return "a list";
    case YAML::NodeType::Map: return "a map";
    case YAML::NodeType::Null: return "nothing";
    case YAML::NodeType::Undefined: break;
  }
  return "nothing";
}

std::vector<std::string> split_words(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

/// Names of hosts and devices: letters, digits, "-", "_" and ".", beginning with no "-" or ".".
bool is_name(std::string_view text, std::size_t longest) {
  return !text.empty() && text.size() <= longest && text.front() != '-' && text.front() != '.' &&
         std::all_of(text.begin(), text.end(), is_name_char);
}

/// What is_name() wants, for somebody who wrote `text`.
std::string name_form(std::string_view text, std::size_t longest) {
  const bool begins_wrong = text.starts_with('-') || text.starts_with('.');
  return fmt::format("1 to {} letters, digits, `-`, `_` or `.`{}", longest,
                     begins_wrong ? ", beginning with a letter, a digit or `_`" : "");
}

/// The line of a `---` that ends the first document, or 0. YAML::LoadAll would tell, but it does
/// not end on some malformed files, and YAML::Load reads the first document without a word.
int second_document(std::string_view text) {
  bool content = false;
  int number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (content && line.starts_with("---")) return number;
    content = content ||
              (!line.empty() && line.front() != '#' && line.front() != '%' && line.front() != '\r');
    at = end + 1;
  }
  return 0;
}

/// Walks one lab file and throws a lab_error at the first thing that is wrong.
class lab_reader {
 public:
  explicit lab_reader(std::string_view file) : file_(file) {}
  lab read(const YAML::Node& root);

 private:
  using entry_fn = std::function<void(const std::string& key, const YAML::Node& value)>;

  [[noreturn]] void fail(const YAML::Node& at, std::string found, std::string expected) const;
  const std::string& scalar(const YAML::Node& node, std::string_view expected) const;
  void each_entry(const YAML::Node& map, std::string_view what, const entry_fn& fn) const;
  void only_keys(const YAML::Node& map, std::string_view what,
                 std::initializer_list<std::string_view> keys) const;
  void want_list(const YAML::Node& node, std::string_view what, std::size_t most) const;
  template <class T>
  T value(const YAML::Node& node, const parsed<T>& outcome) const;

  void read_host(const std::string& name, const YAML::Node& node);
  void read_sysctls(const YAML::Node& node, lab_host& host) const;
  void read_link(const YAML::Node& node);
  u32 read_mtu(const YAML::Node& node) const;
  lab_end read_end(const YAML::Node& node);
  void read_route(const std::string& host, const YAML::Node& node);
  void read_route_options(const std::vector<std::string>& words, std::size_t i,
                          const YAML::Node& node, lab_route& route);
  void check_next_hop(const YAML::Node& node, const lab_route& route) const;
  void read_device(const YAML::Node& node);

  ipv4_prefix interface_address(const std::string& text, const YAML::Node& at);
  void claim_device(const std::string& host, const std::string& dev, const YAML::Node& at);
  void want_host(const std::string& name, const YAML::Node& at) const;

  struct attached {
    std::string dev;
    ipv4_prefix address;
  };

  std::string file_;
  lab lab_;
  std::map<std::pair<std::string, std::string>, int> devices_;  // (host, device) → line
  std::map<u32, int> addresses_;                                // address → line
  std::map<std::string, int> taps_;                             // TAP name → line
  std::map<std::string, std::vector<attached>> on_link_;        // by host
};

int line_of(const YAML::Node& node) { return node.Mark().line + 1; }

void lab_reader::fail(const YAML::Node& at, std::string found, std::string expected) const {
  throw lab_error{file_, line_of(at), std::move(found), std::move(expected)};
}

const std::string& lab_reader::scalar(const YAML::Node& node, std::string_view expected) const {
  if (!node.IsScalar()) fail(node, describe(node), std::string(expected));
  return node.Scalar();
}

/// Calls `fn` for each entry of a map, in the file's order; null counts as an empty map.
void lab_reader::each_entry(const YAML::Node& map, std::string_view what,
                            const entry_fn& fn) const {
  if (map.IsNull()) return;
  if (!map.IsMap()) fail(map, describe(map), fmt::format("a map: {}", what));
  std::set<std::string> seen;
  for (const auto& entry : map) {
    const std::string& key = scalar(entry.first, "a name as key");
    if (!seen.insert(key).second) {
      fail(entry.first, fmt::format("{} twice in {}", quote(key), what), "each name once");
    }
    fn(key, entry.second);
  }
}

void lab_reader::only_keys(const YAML::Node& map, std::string_view what,
                           std::initializer_list<std::string_view> keys) const {
  if (!map.IsMap() && !map.IsNull()) fail(map, describe(map), fmt::format("a map: {}", what));
  each_entry(map, what, [](const std::string&, const YAML::Node&) {});
  for (const auto& entry : map) {
    const std::string& key = entry.first.Scalar();
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      fail(entry.first, fmt::format("unknown key {} in {}", quote(key), what),
           fmt::format("one of {}", fmt::join(keys, ", ")));
    }
  }
}

void lab_reader::want_list(const YAML::Node& node, std::string_view what, std::size_t most) const {
  if (!node.IsSequence()) fail(node, describe(node), fmt::format("a list: {}", what));
  if (node.size() > most) {
    fail(node, fmt::format("{} entries", node.size()), fmt::format("at most {} {}", most, what));
  }
}

template <class T>
T lab_reader::value(const YAML::Node& node, const parsed<T>& outcome) const {
  if (!outcome) fail(node, quote(node.Scalar()), outcome.error());
  return *outcome;
}

lab lab_reader::read(const YAML::Node& root) {
  lab_.file = file_;
  if (!root.IsMap()) fail(root, describe(root), "a map with the key hosts");
  only_keys(root, "the lab", {"seed", "hosts", "links", "routes", "devices"});
  if (const YAML::Node seed = root["seed"]) {
    lab_.seed = value(seed, parse_count(scalar(seed, "a number"), 0, ~u64{0}));
  }
  const YAML::Node hosts = root["hosts"];
  if (!hosts || !hosts.IsMap() || hosts.size() == 0) {
    fail(hosts ? hosts : root, "no hosts", "a map `hosts` with at least one host");
  }
  if (hosts.size() > max_hosts) {
    fail(hosts, fmt::format("{} hosts", hosts.size()), fmt::format("at most {}", max_hosts));
  }
  each_entry(hosts, "hosts",
             [this](const std::string& name, const YAML::Node& node) { read_host(name, node); });
  if (const YAML::Node links = root["links"]; links && !links.IsNull()) {
    want_list(links, "links", max_links);
    for (const YAML::Node& link : links) read_link(link);
  }
  if (const YAML::Node devices = root["devices"]; devices && !devices.IsNull()) {
    want_list(devices, "devices", max_devices);
    for (const YAML::Node& device : devices) read_device(device);
  }
  if (const YAML::Node routes = root["routes"]; routes) {
    each_entry(routes, "routes", [this](const std::string& host, const YAML::Node& node) {
      want_host(host, node);
      want_list(node, "routes", max_routes - lab_.routes.size());
      for (const YAML::Node& route : node) read_route(host, route);
    });
  }
  return std::move(lab_);
}

void lab_reader::read_host(const std::string& name, const YAML::Node& node) {
  if (!is_name(name, max_host_name)) {
    fail(node, fmt::format("host name {}", quote(name)), name_form(name, max_host_name));
  }
  if (same_host_name(name, "localhost") || ipv4_addr::parse(name)) {
    fail(node, fmt::format("host name {}", quote(name)), "a name that means nothing else");
  }
  for (const lab_host& other : lab_.hosts) {
    if (!same_host_name(other.name, name)) continue;
    fail(node, fmt::format("host names {} and {}", quote(other.name), quote(name)),
         "names that differ in more than capital letters: they resolve in any case");
  }
  lab_host host;
  host.name = name;
  only_keys(node, fmt::format("host {}", name), {"cpus", "sysctl"});
  if (node.IsMap()) {
    if (const YAML::Node cpus = node["cpus"]) {
      host.cpus =
          static_cast<u32>(value(cpus, parse_count(scalar(cpus, "a number of cpus"), 1, max_cpus)));
    }
    if (const YAML::Node sysctl = node["sysctl"]) read_sysctls(sysctl, host);
  }
  lab_.hosts.push_back(std::move(host));
}

void lab_reader::read_sysctls(const YAML::Node& node, lab_host& host) const {
  each_entry(node, "sysctl", [&](const std::string& name, const YAML::Node& setting) {
    if (!name.starts_with("net.")) {
      fail(setting, fmt::format("sysctl {}", quote(name)), "a name that begins with net.");
    }
    host.sysctls.push_back({name, scalar(setting, "a value"), line_of(setting)});
  });
}

void lab_reader::read_link(const YAML::Node& node) {
  only_keys(node, "a link",
            {"ends", "rate", "delay", "jitter", "jitter_reorders", "loss", "reorder", "duplicate",
             "corrupt", "queue", "mtu"});
  lab_link link;
  const YAML::Node ends = node.IsMap() ? node["ends"] : YAML::Node();
  if (!ends || !ends.IsSequence() || ends.size() != 2) {
    fail(ends && !ends.IsNull() ? ends : node, "a link without two ends",
         R"(ends: [ "host:device address/length", "host:device address/length" ])");
  }
  for (std::size_t i = 0; i < 2; ++i) link.ends[i] = read_end(ends[i]);
  const auto quantity = [&](const char* key, auto parse, auto& to) {
    if (const YAML::Node at = node[key]) to = value(at, parse(scalar(at, "a quantity")));
  };
  quantity("rate", parse_rate, link.rate);
  quantity("delay", parse_duration, link.delay);
  quantity("jitter", parse_duration, link.jitter);
  quantity("loss", parse_percent, link.loss);
  quantity("reorder", parse_percent, link.reorder);
  quantity("duplicate", parse_percent, link.duplicate);
  quantity("corrupt", parse_percent, link.corrupt);
  if (const YAML::Node queue = node["queue"]) {
    const auto count = parse_count(scalar(queue, "a number of packets"), 1, max_queue_packets);
    link.queue_packets = static_cast<u32>(value(queue, count));
  }
  if (const YAML::Node at = node["jitter_reorders"]) {
    link.jitter_reorders = value(at, parse_yes_no(scalar(at, "yes or no")));
  }
  if (const YAML::Node at = node["mtu"]) link.mtu = read_mtu(at);
  if (link.jitter > link.delay) {
    fail(node["jitter"], fmt::format("jitter {}", quote(node["jitter"].Scalar())),
         "at most the link's delay");
  }
  lab_.links.push_back(std::move(link));
}

u32 lab_reader::read_mtu(const YAML::Node& node) const {
  return static_cast<u32>(value(node, parse_count(scalar(node, "a number"), min_mtu, max_mtu)));
}

lab_end lab_reader::read_end(const YAML::Node& node) {
  constexpr std::string_view form = R"("host:device", then addresses such as 10.0.1.2/24)";
  const std::vector<std::string> words = split_words(scalar(node, form));
  const std::size_t colon = words.empty() ? std::string::npos : words[0].find(':');
  if (colon == std::string::npos) fail(node, describe(node), std::string(form));
  lab_end end;
  end.host = words[0].substr(0, colon);
  end.dev = words[0].substr(colon + 1);
  want_host(end.host, node);
  claim_device(end.host, end.dev, node);
  if (words.size() - 1 > max_device_addresses) {
    fail(node, fmt::format("{} addresses", words.size() - 1),
         fmt::format("at most {}", max_device_addresses));
  }
  for (std::size_t i = 1; i < words.size(); ++i) {
    end.addresses.push_back(interface_address(words[i], node));
    on_link_[end.host].push_back({end.dev, end.addresses.back()});
  }
  return end;
}

/// An address that a device can have: unicast, with its prefix length, used nowhere else.
ipv4_prefix lab_reader::interface_address(const std::string& text, const YAML::Node& at) {
  const auto prefix = ipv4_prefix::parse(text);
  if (!prefix || text.find('/') == std::string::npos || prefix->len == 0) {
    fail(at, quote(text), "an IPv4 address with its prefix length, such as 10.0.1.2/24");
  }
  const u32 address = prefix->addr.value();
  const u32 host_bits = ~ipv4_mask(prefix->len).value();
  const bool ends_of_subnet =
      prefix->len <= 30 && ((address & host_bits) == 0 || (address & host_bits) == host_bits);
  if (ends_of_subnet || prefix->addr.is_zeronet() || prefix->addr.is_loopback() ||
      address >= 0xe0000000) {  // RFC 1122 §3.2.1.3 and RFC 5771: none of these names a host
    fail(at, quote(text), "an address that a host can have");
  }
  const auto [used, fresh] = addresses_.try_emplace(address, line_of(at));
  if (!fresh) {
    fail(at,
         fmt::format("address {} again (first on line {})", prefix->addr.to_string(), used->second),
         "each address once");
  }
  return *prefix;
}

void lab_reader::claim_device(const std::string& host, const std::string& dev,
                              const YAML::Node& at) {
  if (!is_name(dev, max_device_name) || dev == "lo" || dev == "all" || dev == "default") {
    fail(at, fmt::format("device name {}", quote(dev)),
         name_form(dev, max_device_name) + "; not lo, all or default");
  }
  const auto [used, fresh] = devices_.try_emplace({host, dev}, line_of(at));
  if (!fresh) {
    fail(at, fmt::format("device {}:{} again (first on line {})", host, dev, used->second),
         "each device once");
  }
}

void lab_reader::want_host(const std::string& name, const YAML::Node& at) const {
  if (lab_.find_host(name) != nullptr) return;
  std::vector<std::string> names;
  for (const lab_host& host : lab_.hosts) {
    if (names.size() == 8) {
      names.emplace_back("...");
      break;
    }
    names.push_back(host.name);
  }
  fail(at, fmt::format("unknown host {}", quote(name)),
       fmt::format("one of {}", fmt::join(names, ", ")));
}

void lab_reader::read_route(const std::string& host, const YAML::Node& node) {
  constexpr std::string_view form =
      "a route such as `default via 10.0.1.1` or `blackhole 10.9.0.0/16`";
  const std::vector<std::string> words = split_words(scalar(node, form));
  lab_route route;
  route.host = host;
  std::size_t i = 0;
  if (!words.empty()) {
    constexpr std::pair<std::string_view, lab_route_kind> kinds[] = {
        {"unicast", lab_route_kind::unicast},
        {"blackhole", lab_route_kind::blackhole},
        {"unreachable", lab_route_kind::unreachable},
        {"prohibit", lab_route_kind::prohibit}};
    for (const auto& [name, kind] : kinds) {
      if (words[0] != name) continue;
      route.kind = kind;
      i = 1;
    }
  }
  if (i >= words.size()) fail(node, describe(node), std::string(form));
  if (words[i] != "default") {
    const auto to = ipv4_prefix::parse(words[i]);
    if (!to) fail(node, quote(words[i]), "`default` or a prefix such as 10.9.0.0/16");
    const ipv4_prefix whole{ipv4_addr(to->addr.value() & ipv4_mask(to->len).value()), to->len};
    if (!(whole == *to)) {
      fail(node, fmt::format("{} has bits set beyond /{}", quote(words[i]), to->len),
           whole.to_string());
    }
    route.to = whole;
  }
  read_route_options(words, i + 1, node, route);
  check_next_hop(node, route);
  for (const lab_route& other : lab_.routes) {
    if (other.host == host && other.to == route.to && other.metric == route.metric) {
      fail(node, fmt::format("a second route to {}", quote(words[i])), "another metric");
    }
  }
  lab_.routes.push_back(std::move(route));
}

void lab_reader::read_route_options(const std::vector<std::string>& words, std::size_t i,
                                    const YAML::Node& node, lab_route& route) {
  std::set<std::string> seen;
  for (; i < words.size(); i += 2) {
    const std::string& key = words[i];
    if (!seen.insert(key).second) fail(node, fmt::format("{} twice", quote(key)), "it once");
    if (i + 1 >= words.size()) {
      fail(node, fmt::format("{} at the end", quote(key)), "its value after it");
    }
    const std::string& text = words[i + 1];
    if (key == "via" || key == "src") {
      const auto address = ipv4_addr::parse(text);
      if (!address) fail(node, quote(text), fmt::format("an IPv4 address after {}", key));
      (key == "via" ? route.via : route.src) = address;
    } else if (key == "dev") {
      if (devices_.count({route.host, text}) == 0) {
        fail(node, fmt::format("device {}", quote(text)),
             fmt::format("a device of host {}", route.host));
      }
      route.dev = text;
    } else if (key == "metric") {
      const auto metric = parse_count(text, 0, 0xffffffff);
      if (!metric) fail(node, quote(text), metric.error());
      route.metric = static_cast<u32>(*metric);
    } else {
      fail(node, quote(key), "via, dev, src or metric");
    }
  }
}

/// As Linux does: a gateway must itself be reachable without a gateway.
void lab_reader::check_next_hop(const YAML::Node& node, const lab_route& route) const {
  if (route.kind != lab_route_kind::unicast) {
    if (route.via || !route.dev.empty()) {
      fail(node, "a next hop on a route that goes nowhere", "no via and no dev");
    }
    return;
  }
  const auto found = on_link_.find(route.host);
  const auto any_address = [&](auto&& pred) {
    return found != on_link_.end() && std::any_of(found->second.begin(), found->second.end(), pred);
  };
  if (!route.via && route.dev.empty()) fail(node, describe(node), "via ADDRESS or dev DEVICE");
  if (route.via && !any_address([&](const attached& a) {
        return a.address.contains(*route.via) && (route.dev.empty() || route.dev == a.dev);
      })) {
    fail(node, fmt::format("gateway {}", route.via->to_string()),
         fmt::format("an address in a subnet of {}{}{}", route.host, route.dev.empty() ? "" : ":",
                     route.dev));
  }
  const auto is_own = [&](ipv4_addr address) {
    return any_address([&](const attached& a) { return a.address.addr == address; });
  };
  if (route.via && is_own(*route.via)) {
    fail(node, fmt::format("gateway {}, which is {} itself", route.via->to_string(), route.host),
         "a neighbour's address");
  }
  if (route.src && !is_own(*route.src)) {
    fail(node, fmt::format("src {}", route.src->to_string()),
         fmt::format("an address of {}", route.host));
  }
}

void lab_reader::read_device(const YAML::Node& node) {
  only_keys(node, "a device", {"host", "name", "tap", "address", "mtu"});
  lab_device device;
  const auto text = [&](const char* key) -> const std::string& {
    const YAML::Node at = node[key];
    if (!at) fail(node, fmt::format("a device without {}", key), "host, name and tap");
    return scalar(at, "a name");
  };
  if (!node.IsMap()) fail(node, describe(node), "a map: a device");
  device.host = text("host");
  want_host(device.host, node["host"]);
  device.name = text("name");
  claim_device(device.host, device.name, node["name"]);
  device.tap = text("tap");
  if (!is_name(device.tap, max_device_name)) {
    fail(node["tap"], fmt::format("TAP name {}", quote(device.tap)),
         fmt::format("1 to {} letters, digits, `-`, `_` or `.`", max_device_name));
  }
  if (const auto [used, fresh] = taps_.try_emplace(device.tap, line_of(node)); !fresh) {
    fail(node["tap"], fmt::format("TAP {} again (first on line {})", device.tap, used->second),
         "each TAP once");
  }
  if (const YAML::Node at = node["address"]) {
    device.address = interface_address(scalar(at, "an address such as 10.9.0.2/24"), at);
    on_link_[device.host].push_back({device.name, *device.address});
  }
  if (const YAML::Node at = node["mtu"]) device.mtu = read_mtu(at);
  lab_.devices.push_back(std::move(device));
}

}  // namespace

const lab_host* lab::find_host(std::string_view name) const {
  for (const lab_host& host : hosts) {
    if (host.name == name) return &host;
  }
  return nullptr;
}

std::string lab_error::to_string() const {
  const std::string place = line == 0 ? file : fmt::format("{}:{}", file, line);
  if (expected.empty()) return fmt::format("{}: {}", place, found);
  return fmt::format("{}: {}; expected {}", place, found, expected);
}

tl::expected<lab, lab_error> parse_lab(std::string_view text, std::string_view file) {
  if (text.size() > max_file_bytes) {
    return tl::unexpected(lab_error{std::string(file), 0, "a file of over 4 MiB", "a lab file"});
  }
  if (const int line = second_document(text); line != 0) {
    return tl::unexpected(
        lab_error{std::string(file), line, "a second YAML document", "one lab a file"});
  }
  try {
    return lab_reader(file).read(YAML::Load(std::string(text)));
  } catch (const lab_error& error) {
    return tl::unexpected(error);
  } catch (const YAML::Exception& error) {
    return tl::unexpected(
        lab_error{std::string(file), error.mark.line + 1, "not YAML: " + error.msg, ""});
  }
}

tl::expected<lab, lab_error> load_lab(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::string text;
  if (in) {
    text.resize(max_file_bytes + 1);
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
  }
  if (in.bad() || (!in.eof() && in.fail()) || !in.is_open()) {
    const char* const why = errno != 0 ? std::strerror(errno) : "an error";
    return tl::unexpected(lab_error{path, 0, fmt::format("cannot be read: {}", why), "a lab file"});
  }
  return parse_lab(text, path);
}

bool same_host_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return lower_case(x) == lower_case(y);
         });
}

lab loopback_lab(std::string host) {
  lab out;
  out.hosts.push_back({std::move(host), 1, {}});
  return out;
}

}  // namespace ph
