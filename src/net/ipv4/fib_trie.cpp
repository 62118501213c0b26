// Insertion and removal in the trie of prefixes.
#include "net/ipv4/fib_trie.h"

#include <algorithm>
#include <bit>

namespace ph {
namespace {

/// How many leading bits two prefixes share.
u8 common_length(const ipv4_prefix& a, const ipv4_prefix& b) {
  const auto same = static_cast<u8>(std::countl_zero(a.addr.value() ^ b.addr.value()));
  return std::min({same, a.len, b.len});
}

}  // namespace

/// Where a node for `prefix` is or would hang: follows nodes that lie above it.
std::unique_ptr<fib_trie::node>* fib_trie::slot_of(const ipv4_prefix& prefix) {
  std::unique_ptr<node>* slot = &root_;
  while (*slot && (*slot)->prefix.len < prefix.len && (*slot)->prefix.contains(prefix.addr)) {
    slot = &(*slot)->child[bit(prefix.addr.value(), (*slot)->prefix.len)];
  }
  return slot;
}

fib_trie::route_list& fib_trie::at(const ipv4_prefix& prefix) {
  std::unique_ptr<node>& slot = *slot_of(prefix);
  if (slot && slot->prefix == prefix) return slot->routes;
  auto made = std::make_unique<node>(prefix);
  route_list& out = made->routes;
  if (!slot) {
    slot = std::move(made);
    return out;
  }
  const u8 common = common_length(prefix, slot->prefix);
  const u32 key = slot->prefix.addr.value();
  if (common == prefix.len) {  // the new node lies above the old one
    made->child[bit(key, common)] = std::move(slot);
    slot = std::move(made);
    return out;
  }
  const ipv4_addr shared(key & ipv4_mask(common).value());
  auto fork = std::make_unique<node>(ipv4_prefix{shared, common});
  fork->child[bit(key, common)] = std::move(slot);
  fork->child[bit(prefix.addr.value(), common)] = std::move(made);
  slot = std::move(fork);
  return out;
}

fib_trie::route_list* fib_trie::find(const ipv4_prefix& prefix) {
  std::unique_ptr<node>& slot = *slot_of(prefix);
  return slot && slot->prefix == prefix ? &slot->routes : nullptr;
}

/// A node without routes is needed only where two subtrees part.
void fib_trie::collapse(std::unique_ptr<node>& slot) {
  if (!slot || !slot->routes.empty() || (slot->child[0] && slot->child[1])) return;
  slot = std::move(slot->child[slot->child[0] ? 0 : 1]);
}

void fib_trie::prune(const ipv4_prefix& prefix) {
  std::unique_ptr<node>* parent = nullptr;
  std::unique_ptr<node>* slot = &root_;
  while (*slot && (*slot)->prefix.len < prefix.len && (*slot)->prefix.contains(prefix.addr)) {
    parent = slot;
    slot = &(*slot)->child[bit(prefix.addr.value(), (*slot)->prefix.len)];
  }
  if (!*slot || (*slot)->prefix != prefix) return;
  collapse(*slot);
  if (parent != nullptr) collapse(*parent);
}

}  // namespace ph
