// The shared object for the genuine packetdrill, driven as that program drives it: loaded, its
// table filled, packets put in and taken out, calls made from two threads.
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "judge/table.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ph::judge {
namespace {

constexpr ipv4_addr host{192, 168, 0, 1}, peer{192, 0, 2, 1};
constexpr u16 host_port = 8080, peer_port = 50000;

struct segment {
  u8 flags = 0;
  u32 seq = 0, ack = 0;
  std::vector<u8> options, payload;
};

std::vector<u8> datagram(const segment& s) {
  std::vector<u8> tcp(sizeof(tcphdr));
  tcphdr th;
  th.source = be16(peer_port);
  th.dest = be16(host_port);
  th.seq = be32(s.seq);
  th.ack_seq = be32(s.ack);
  th.set_header_bytes(sizeof(tcphdr) + s.options.size());
  th.flags = s.flags;
  th.window = be16(65535);
  tcp.insert(tcp.end(), s.options.begin(), s.options.end());
  tcp.insert(tcp.end(), s.payload.begin(), s.payload.end());
  copy_bytes(tcp, bytes_of(th));
  th.check = csum_fold(csum_add_bytes(
      tcp, csum_pseudo_ipv4(peer, host, IPPROTO_TCP, static_cast<u16>(tcp.size()))));
  copy_bytes(tcp, bytes_of(th));
  std::vector<u8> out(sizeof(iphdr));
  ipv4_header ip;
  ip.saddr = peer;
  ip.daddr = host;
  ip.protocol = IPPROTO_TCP;
  emit(out, ip, tcp.size());
  out.insert(out.end(), tcp.begin(), tcp.end());
  return out;
}

class judge_interface : public testing::Test {
 protected:
  void SetUp() override {
    library_ = dlopen(PH_JUDGE, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library_, nullptr) << dlerror();
  }
  void TearDown() override {
    if (table_.userdata != nullptr) table_.free(table_.userdata);
    dlclose(library_);
  }
  void start(const char* flags) {
    using init = void (*)(const char*, interface_table*);
    const auto fill = reinterpret_cast<init>(dlsym(library_, "packetdrill_interface_init"));
    ASSERT_NE(fill, nullptr);
    fill(flags, &table_);
    ASSERT_NE(table_.userdata, nullptr);
    u_ = table_.userdata;
  }
  void send(const segment& s) {
    const auto bytes = datagram(s);
    ASSERT_EQ(table_.netdev_send(u_, bytes.data(), bytes.size()), 0);
  }
  /// The next segment that the stack sends; nullopt when the patience is over.
  std::optional<segment> receive(long long* when = nullptr) {
    std::vector<u8> bytes(65536);
    size_t count = bytes.size();
    long long usecs = 0;
    if (table_.netdev_receive(u_, bytes.data(), &count, &usecs) != 0) return std::nullopt;
    if (when != nullptr) *when = usecs;
    bytes.resize(count);
    const auto ip = ipv4_view::parse(bytes);
    const auto tcp = tcp_view::parse(ip->payload);
    segment out;
    out.flags = tcp->th->flags;
    out.seq = tcp->th->seq.value();
    out.ack = tcp->th->ack_seq.value();
    out.options.assign(tcp->options.begin(), tcp->options.end());
    out.payload.assign(tcp->payload.begin(), tcp->payload.end());
    return out;
  }
  long long now() {
    timeval tv{};
    table_.gettimeofday(u_, &tv, nullptr);
    return static_cast<long long>(tv.tv_sec) * 1'000'000 + tv.tv_usec;
  }
  int listener() {
    const int fd = table_.socket(u_, AF_INET, SOCK_STREAM, IPPROTO_TCP);
    sockaddr_in addr{};
    addr.sin_family = AF_INET;
    addr.sin_port = htons(host_port);
    addr.sin_addr.s_addr = htonl(host.value());
    EXPECT_EQ(table_.bind(u_, fd, reinterpret_cast<sockaddr*>(&addr), sizeof addr), 0);
    EXPECT_EQ(table_.listen(u_, fd, 1), 0);
    return fd;
  }
  /// A connection that came to the listener; *isn is the host's.
  int accepted(int fd, u32* isn) {
    send({tcphdr_syn, 1000, 0, {2, 4, 5, 180}, {}});
    const auto syn_ack = receive();
    EXPECT_TRUE(syn_ack);
    EXPECT_EQ(syn_ack->flags, tcphdr_syn | tcphdr_ack);
    EXPECT_EQ(syn_ack->ack, 1001u);
    *isn = syn_ack->seq;
    send({tcphdr_ack, 1001, *isn + 1, {}, {}});
    return table_.accept(u_, fd, nullptr, nullptr);
  }

  void* library_ = nullptr;
  void* u_ = nullptr;
  interface_table table_{};
};

TEST_F(judge_interface, carries_a_connection_from_handshake_to_close) {
  start("patience_ms=5000");
  const int fd = listener();
  u32 isn = 0;
  const int conn = accepted(fd, &isn);
  ASSERT_GE(conn, 0);
  send({tcphdr_ack | tcphdr_psh, 1001, isn + 1, {}, {'h', 'i'}});
  const auto ack = receive();
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->ack, 1003u);
  char data[8];
  ASSERT_EQ(table_.read(u_, conn, data, sizeof data), 2);
  EXPECT_EQ(data[0], 'h');
  EXPECT_EQ(table_.write(u_, conn, "answer", 6), 6);
  const auto answer = receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->payload.size(), 6u);
  EXPECT_EQ(answer->seq, isn + 1);
  send({tcphdr_ack, 1003, isn + 7, {}, {}});
  EXPECT_EQ(table_.close(u_, conn), 0);
  const auto fin = receive();
  ASSERT_TRUE(fin);
  EXPECT_EQ(fin->flags, tcphdr_fin | tcphdr_ack);
  send({tcphdr_fin | tcphdr_ack, 1003, isn + 8, {}, {}});
  const auto last = receive();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->ack, 1004u);
  EXPECT_FALSE(receive()) << "nothing comes any more, and the wait ends";
}

TEST_F(judge_interface, the_clock_moves_by_looking_and_jumps_by_sleeping) {
  start("");
  const long long before = now();
  const long long after = now();
  EXPECT_GT(after, before);
  EXPECT_LT(after - before, 1000);
  table_.usleep(u_, 3'000'000);
  EXPECT_GE(now() - after, 3'000'000);
}

TEST_F(judge_interface, a_packet_carries_the_time_of_its_timer) {
  start("patience_ms=5000");
  const int fd = table_.socket(u_, AF_INET, SOCK_STREAM, IPPROTO_TCP);
  ASSERT_EQ(table_.fcntl(u_, fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(peer_port);
  to.sin_addr.s_addr = htonl(peer.value());
  errno = 0;
  EXPECT_EQ(table_.connect(u_, fd, reinterpret_cast<sockaddr*>(&to), sizeof to), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  long long first = 0, again = 0;
  ASSERT_TRUE(receive(&first));
  ASSERT_TRUE(receive(&again));
  EXPECT_NEAR(static_cast<double>(again - first), 1e6, 2e3);  // RFC 6298: one second
}

TEST_F(judge_interface, a_call_may_block_on_a_second_thread) {
  start("patience_ms=5000");
  const int fd = listener();
  int conn = -1;
  std::thread caller([&] { conn = table_.accept(u_, fd, nullptr, nullptr); });
  send({tcphdr_syn, 1000, 0, {}, {}});
  const auto syn_ack = receive();
  ASSERT_TRUE(syn_ack);
  send({tcphdr_ack, 1001, syn_ack->seq + 1, {}, {}});
  caller.join();
  EXPECT_GE(conn, 0);
}

TEST_F(judge_interface, poll_and_epoll_wait_on_virtual_time) {
  start("");
  const int fd = listener();
  pollfd entry{fd, POLLIN, 0};
  const long long before = now();
  EXPECT_EQ(table_.poll(u_, &entry, 1, 700), 0);
  EXPECT_GE(now() - before, 700'000);
  const int ep = table_.epoll_create(u_, 1);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ASSERT_EQ(table_.epoll_ctl(u_, ep, EPOLL_CTL_ADD, fd, &event), 0);
  EXPECT_EQ(table_.epoll_wait(u_, ep, &event, 1, 0), 0);
  u32 isn = 0;
  send({tcphdr_syn, 1000, 0, {}, {}});
  isn = receive()->seq;
  send({tcphdr_ack, 1001, isn + 1, {}, {}});
  ASSERT_EQ(table_.epoll_wait(u_, ep, &event, 1, -1), 1);
  EXPECT_EQ(event.data.fd, fd);
}

TEST_F(judge_interface, settings_are_read_at_each_socket) {
  const std::string folder = testing::TempDir() + "judge_settings";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/tcp_timestamps") << "0\n";
  setenv("PH_PACKETDRILL_SYSCTLS", folder.c_str(), 1);
  start("");
  unsetenv("PH_PACKETDRILL_SYSCTLS");
  const auto syn_length = [&] {
    const int fd = table_.socket(u_, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(peer_port);
    to.sin_addr.s_addr = htonl(peer.value());
    EXPECT_EQ(table_.connect(u_, fd, reinterpret_cast<sockaddr*>(&to), sizeof to), -1);
    const std::size_t out = receive()->options.size();
    EXPECT_EQ(table_.close(u_, fd), 0);
    return out;
  };
  const std::size_t without = syn_length();
  std::ofstream(folder + "/tcp_timestamps") << "1\n";
  EXPECT_EQ(syn_length(), without + 8);  // RFC 7323: 10 bytes in the place of two of padding
  std::filesystem::remove_all(folder);
}

/// What a shell line of a script does, by the stand-in for its program.
void shell(const std::string& folder, const std::string& line) {
  const std::string command = "mkdir -p " + folder + "/bin && ln -sf " PH_STAND_IN " " + folder +
                              "/bin/" + line.substr(0, line.find(' ')) +
                              " && PH_PACKETDRILL_SYSCTLS=" + folder + "/set " + folder + "/bin/" +
                              line;
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

TEST_F(judge_interface, shell_lines_are_followed_while_a_connection_lives) {
  const std::string folder = testing::TempDir() + "judge_shell";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder + "/set");
  std::ofstream(folder + "/set/counters") << "";
  start(("settings=" + folder + "/set").c_str());
  const int fd = listener();
  shell(folder, "sysctl -q net.ipv4.tcp_timestamps=0 net.core.somaxconn=7");
  send({tcphdr_syn, 1000, 0, {2, 4, 5, 180, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0}, {}});
  const auto answer = receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->options.size(), 4u) << "no timestamps: the setting came between two calls";
  send({tcphdr_ack, 1001, answer->seq + 1, {}, {}});
  EXPECT_GE(table_.accept(u_, fd, nullptr, nullptr), 0);
  shell(folder, "ip route change 192.0.2.1 via 192.168.0.2 dev tun0 advmss 600");
  shell(folder, "tc qdisc replace dev tun0 root pfifo limit 100");
  send({tcphdr_rst, 1001, 0, {}, {}});
  send({tcphdr_syn, 5000, 0, {2, 4, 5, 180}, {}});
  const auto other = receive();
  ASSERT_TRUE(other);
  EXPECT_EQ(other->options[2] * 256 + other->options[3], 600);
  std::ifstream counters(folder + "/set/counters");
  const std::string text{std::istreambuf_iterator<char>(counters), {}};
  EXPECT_NE(text.find("TcpPassiveOpens 1 "), std::string::npos) << text;
  std::filesystem::remove_all(folder);
}

TEST_F(judge_interface, a_blocking_write_fills_the_buffer_at_once) {
  start("");
  u32 isn = 0;
  const int fd = accepted(listener(), &isn);
  std::thread writer([&] {
    const std::vector<u8> data(400'000);
    EXPECT_EQ(table_.write(u_, fd, data.data(), data.size()), 400'000);
  });
  const auto yield = reinterpret_cast<int (*)()>(dlsym(library_, "sched_yield"));
  ASSERT_NE(yield, nullptr);
  const long long before = now();
  EXPECT_EQ(yield(), 0);  // the other thread has made its call now, and no time has passed
  EXPECT_LE(now() - before, 1000);
  std::size_t got = 0;
  while (got < 400'000) {
    const auto s = receive();
    if (!s) break;
    got += s->payload.size();
    send({tcphdr_ack, 1001, s->seq + static_cast<u32>(s->payload.size()), {}, {}});
  }
  EXPECT_EQ(got, 400'000u);
  if (got != 400'000) table_.close(u_, fd);
  writer.join();
  EXPECT_LE(now() - before, 100'000) << "no wait for a timer";
}

TEST_F(judge_interface, files_and_pipes_reach_into_the_stack) {
  start("");
  u32 isn = 0;
  const int fd = accepted(listener(), &isn);
  int ends[2];
  ASSERT_EQ(table_.pipe(u_, ends), 0);
  send({tcphdr_ack | tcphdr_psh, 1001, isn + 1, {}, {'a', 'b', 'c'}});
  EXPECT_EQ(table_.splice(u_, fd, nullptr, ends[1], nullptr, 10, 0), 3);
  EXPECT_EQ(table_.splice(u_, ends[0], nullptr, fd, nullptr, 2, 0), 2);
  std::string text;
  for (int i = 0; i < 3 && text.empty(); ++i) {
    const auto s = receive();
    ASSERT_TRUE(s);
    text.assign(s->payload.begin(), s->payload.end());
  }
  EXPECT_EQ(text, "ab");
  const auto sendfile = reinterpret_cast<ssize_t (*)(int, int, off_t*, size_t)>(
      dlsym(library_, "sendfile"));
  ASSERT_NE(sendfile, nullptr);
  const std::string path = testing::TempDir() + "judge_file";
  std::ofstream(path) << "0123456789";
  const int file = ::open(path.c_str(), O_RDONLY);
  off_t at = 4;
  EXPECT_EQ(sendfile(fd, file, &at, 3), 3);
  EXPECT_EQ(at, 7);
  ::close(file);
  std::filesystem::remove(path);
}

TEST_F(judge_interface, a_descriptor_is_one_of_the_process) {
  start("");
  const int fd = table_.socket(u_, AF_INET, SOCK_STREAM, 0);
  EXPECT_NE(fcntl(fd, F_GETFD), -1);
  const auto libc_call = reinterpret_cast<int (*)(int, int, int, void*, socklen_t*)>(
      dlsym(library_, "getsockopt"));
  ASSERT_NE(libc_call, nullptr);
  int type = 0;
  socklen_t len = sizeof type;
  EXPECT_EQ(libc_call(fd, SOL_SOCKET, SO_TYPE, &type, &len), 0);
  EXPECT_EQ(type, SOCK_STREAM);
  EXPECT_EQ(table_.close(u_, fd), 0);
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  errno = 0;
  EXPECT_EQ(table_.listen(u_, fd, 1), -1);
  EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace ph::judge
