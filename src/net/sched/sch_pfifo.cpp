// Packet FIFOs with a limit, and the map from skb priority to band (tc-pfifo_fast(8)).
#include "net/sched/sch_pfifo.h"

#include <array>

namespace ph {
namespace {

/// Keeps the packet in `queue` unless it holds `limit` already.
xmit_result enqueue_limited(cpu& cx, skb_queue& queue, std::size_t limit, skb_ptr skb,
                            qdisc_stats& stats) {
  if (queue.size() >= limit) {
    ++stats.drops;
    drop(cx, std::move(skb), drop_reason::qdisc_overlimit);
    return xmit_result::dropped;
  }
  queue.push_back(std::move(skb));
  return xmit_result::sent;
}

class pfifo final : public qdisc {
 public:
  explicit pfifo(std::size_t limit) : limit_(limit) {}
  std::string_view kind() const override { return "pfifo"; }
  xmit_result enqueue(cpu& cx, skb_ptr skb) override {
    return enqueue_limited(cx, queue_, limit_, std::move(skb), stats);
  }
  skb_ptr dequeue(cpu&) override { return queue_.pop_front(); }
  const sk_buff* peek() override { return queue_.front(); }
  void reset(cpu& cx, skb_drop_reason why) override { queue_.purge(cx, why); }
  std::size_t len() const override { return queue_.size(); }
  u64 backlog_bytes() const override { return queue_.bytes(); }
  bool can_bypass() const override { return limit_ != 0; }

 private:
  std::size_t limit_;
  skb_queue queue_;
};

class pfifo_fast final : public qdisc {
 public:
  explicit pfifo_fast(std::size_t limit) : limit_(limit) {}
  std::string_view kind() const override { return "pfifo_fast"; }
  xmit_result enqueue(cpu& cx, skb_ptr skb) override {
    skb_queue& band = bands_[band_of_priority[skb->priority & 15]];
    return enqueue_limited(cx, band, limit_, std::move(skb), stats);
  }
  skb_ptr dequeue(cpu&) override {
    for (skb_queue& band : bands_) {
      if (!band.empty()) return band.pop_front();
    }
    return {};
  }
  const sk_buff* peek() override {
    for (skb_queue& band : bands_) {
      if (!band.empty()) return band.front();
    }
    return nullptr;
  }
  void reset(cpu& cx, skb_drop_reason why) override {
    for (skb_queue& band : bands_) band.purge(cx, why);
  }
  std::size_t len() const override {
    return bands_[0].size() + bands_[1].size() + bands_[2].size();
  }
  u64 backlog_bytes() const override {
    return bands_[0].bytes() + bands_[1].bytes() + bands_[2].bytes();
  }
  bool can_bypass() const override { return true; }

 private:
  /// By TC_PRIO_*: 6 (interactive) and 7 (control) first, 1 (filler), 2 (bulk), 3 and 5 last.
  static constexpr std::array<u8, 16> band_of_priority = {1, 2, 2, 2, 1, 2, 0, 0,
                                                          1, 1, 1, 1, 1, 1, 1, 1};
  std::size_t limit_;
  std::array<skb_queue, 3> bands_;
};

}  // namespace

std::unique_ptr<qdisc> pfifo_create(std::size_t limit) { return std::make_unique<pfifo>(limit); }

std::unique_ptr<qdisc> pfifo_fast_create(net_device& dev) {
  return std::make_unique<pfifo_fast>(dev.tx_queue_len());
}

}  // namespace ph
