// Construction of the machine and its wire; the far side answers ARP for every address.
#include "sim/packetdrill/machine.h"

#include <stdexcept>

#include "init/builtin.h"
#include "net/core/qdisc.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/ipv4_net.h"
#include "net/sched/sch_pfifo.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

namespace ph::packetdrill {
namespace {

constexpr mac_addr our_mac{{2, 0, 0, 0, 0, 1}};
constexpr mac_addr far_mac{{2, 0, 0, 0, 0, 2}};

template <class T>
T must(result<T> r, const char* what) {
  if (!r) throw std::runtime_error(std::string(what) + ": " + std::string(errc_name(r.error())));
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

}  // namespace

machine::machine(ipv4_addr local, u32 mtu) : start_{seconds(1000).ns}, now_(start_) {
  kernel_config config;
  config.name = "host";
  config.memory = &memory_;
  kernel_ = std::make_unique<kernel>(config);
  kernel_->enter(now_);
  builtin_init(*kernel_);
  net_ = &init_net(*kernel_);
  {
    const rtnl_guard rtnl(kernel_->rtnl());
    cpu& cx = kernel_->boot_cpu();
    mem_config device;
    device.name = "tun0";
    device.addr = our_mac;
    device.mtu = mtu;
    device.rx_longest = ipv4_max_packet + sizeof(ethhdr);  // a tun takes what it is given
    port_ = must(mem_create(rtnl.held(), *net_, device), "mem device");
    port_->set_transmit([this](cpu& c, skb_ptr& skb) {
      on_transmit(c, skb);
      return true;
    });
    in_ifaddr addr;
    addr.local = addr.address = local;
    addr.prefix_len = 16;
    must(port_->device().open(rtnl.held(), cx), "open");
    must(inet_addr_add(rtnl.held(), cx, port_->device(), addr), "address");
    fib_route route;
    fib_nh hop;
    hop.oif = port_->device().index();
    hop.gateway = ipv4_addr((local.value() & 0xffff0000) | 0xfffe);
    route.nexthops.push_back(hop);
    must(ipv4_of(*net_).fib.add(rtnl.held(), route), "default route");
  }
  task_ = std::make_unique<task>(*kernel_, *net_, "script");
  settle();
  sent.clear();
}

machine::~machine() { task_.reset(); }

void machine::on_transmit(cpu& cx, skb_ptr& skb) {
  skb->linearize(cx);
  const auto frame = ethernet_view::parse(skb->data());
  if (frame && frame->eth->h_proto.value() == uapi::eth_p_ip) {
    sent.push_back({cx.now(), {frame->payload.begin(), frame->payload.end()}});
  } else if (frame && frame->eth->h_proto.value() == uapi::eth_p_arp) {
    const auto arp = arp_view::parse(frame->payload);
    if (arp && arp->message().op == uapi::arpop_request &&
        arp->message().sip != arp->message().tip) {
      const arp_message ask = arp->message();
      arp_message answer;
      answer.op = uapi::arpop_reply;
      answer.sha = far_mac;
      answer.sip = ask.tip;
      answer.tha = our_mac;
      answer.tip = ask.sip;
      std::vector<u8> reply(60);
      const std::size_t head = emit(reply, ethernet_header{our_mac, far_mac, uapi::eth_p_arp});
      emit(byte_span(reply).subspan(head), answer);
      replies_.push_back(std::move(reply));
    }
  }
  consume(cx, std::move(skb));
}

void machine::add_address(ipv4_addr local) {
  kernel_->enter(now_);
  if (ipv4_of(*net_).fib.addr_type(local) == route_type::local) return;
  const rtnl_guard rtnl(kernel_->rtnl());
  in_ifaddr addr;
  addr.local = addr.address = local;
  addr.prefix_len = 16;
  must(inet_addr_add(rtnl.held(), kernel_->boot_cpu(), port_->device(), addr), "address");
}

void machine::limit_queue(std::size_t limit) {
  kernel_->enter(now_);
  net_device& dev = port_->device();
  dev.reset_tx_queues(drop_reason::qdisc_overlimit);
  for (const auto& queue : dev.tx_queues()) queue->discipline = pfifo_create(limit);
}

void machine::change_route(const std::string& words) {
  kernel_->enter(now_);
  const rtnl_guard rtnl(kernel_->rtnl());
  std::string why;
  auto route = fib_route_parse(*net_, words, &why);
  if (!route) throw std::runtime_error("ip route " + words + ": " + why);
  must(ipv4_of(*net_).fib.add(rtnl.held(), std::move(*route), true), "ip route");
}

void machine::settle() {
  kernel_->enter(now_);
  do {
    std::vector<std::vector<u8>> replies;
    replies.swap(replies_);
    for (const auto& reply : replies) port_->receive_bytes(reply);
    kernel_->run(now_);
  } while (!replies_.empty() || kernel_->next_deadline() <= now_);
}

void machine::arrive(byte_view datagram, u32 mss, u32 payload) {
  kernel_->enter(now_);
  const std::size_t bytes = sizeof(ethhdr) + datagram.size();
  skb_ptr skb = alloc_skb(kernel_->boot_cpu(), max_header + static_cast<u32>(bytes));
  skb->reserve(max_header);
  std::vector<u8> frame(bytes);
  emit(frame, ethernet_header{our_mac, far_mac, uapi::eth_p_ip});
  copy_bytes(byte_span(frame).subspan(sizeof(ethhdr)), datagram);
  skb->put_bytes(frame);
  if (mss != 0) {
    skb->gso_type = gso_tcpv4;
    skb->gso_size = static_cast<u16>(mss);
    skb->gso_segs = static_cast<u16>((payload + mss - 1) / mss);
  }
  port_->receive(std::move(skb));
}

}  // namespace ph::packetdrill
