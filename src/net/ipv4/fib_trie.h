// Longest-prefix match: a path-compressed binary trie over 32-bit keys. Each node holds the routes
// of one prefix in order of preference.
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <vector>

#include "net/ipv4/fib.h"

namespace ph {

class fib_trie {
 public:
  using route_ptr = std::unique_ptr<fib_route>;
  using route_list = std::vector<route_ptr>;
  /// The routes of exactly this prefix (made empty if there are none), to change.
  route_list& at(const ipv4_prefix& prefix);
  /// The same, or nullptr.
  [[nodiscard]] route_list* find(const ipv4_prefix& prefix);
  /// Forgets a prefix whose list is empty.
  void prune(const ipv4_prefix& prefix);
  /// f(const fib_route&) → bool for the routes that match `addr`, longest prefix first and best
  /// first within a prefix, until it returns true.
  template <class F>
  void match(ipv4_addr addr, F&& f) const {
    std::array<const node*, 33> path;
    std::size_t depth = 0;
    for (const node* n = root_.get(); n != nullptr && n->prefix.contains(addr);) {
      if (!n->routes.empty()) path[depth++] = n;
      if (n->prefix.len == 32) break;
      n = n->child[bit(addr.value(), n->prefix.len)].get();
    }
    while (depth != 0) {
      for (const route_ptr& route : path[--depth]->routes) {
        if (f(*route)) return;
      }
    }
  }
  /// f(route_list&) for every prefix with routes, in order of prefix.
  template <class F>
  void for_each(F&& f) { walk(root_.get(), f); }
  /// Takes out the routes for which pred(route).
  template <class Pred>
  route_list take_if(Pred&& pred) {
    route_list out;
    std::vector<ipv4_prefix> emptied;
    for_each([&](route_list& routes) {
      const ipv4_prefix prefix = routes.front()->dst;
      const auto stay = std::stable_partition(
          routes.begin(), routes.end(), [&](const route_ptr& route) { return !pred(*route); });
      std::move(stay, routes.end(), std::back_inserter(out));
      routes.erase(stay, routes.end());
      if (routes.empty()) emptied.push_back(prefix);
    });
    for (const ipv4_prefix& prefix : emptied) prune(prefix);
    return out;
  }

 private:
  struct node {
    explicit node(const ipv4_prefix& p) : prefix(p) {}
    ipv4_prefix prefix;
    route_list routes;
    std::array<std::unique_ptr<node>, 2> child;
  };
  /// Bit number `at` (0: the highest) of a key.
  static std::size_t bit(u32 key, unsigned at) { return (key >> (31 - at)) & 1; }
  template <class F>
  static void walk(node* n, F& f) {
    if (n == nullptr) return;
    if (!n->routes.empty()) f(n->routes);
    for (auto& child : n->child) walk(child.get(), f);
  }
  std::unique_ptr<node>* slot_of(const ipv4_prefix& prefix);
  static void collapse(std::unique_ptr<node>& slot);

  std::unique_ptr<node> root_;
};

}  // namespace ph
