// Settings by name: what text is accepted, and what is printed.
#include "kernel/sysctl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ph {
namespace {

struct sysctl_test : testing::Test {
  sysctl_test() {
    table.add("net.ipv4.ip_forward", forward, 0, 1);
    table.add("net.ipv4.tcp_rmem", {&rmem[0], &rmem[1], &rmem[2]}, 1, 1 << 30);
    table.add("net.ipv4.tcp_congestion_control", congestion,
              [](std::string_view name) { return name == "reno" || name == "cubic"; });
  }
  sysctl_table table;
  s32 forward = 0;
  std::array<s32, 3> rmem{4096, 131072, 6291456};
  std::string congestion = "cubic";
};

TEST_F(sysctl_test, numbers_have_a_range) {
  EXPECT_TRUE(table.set("net.ipv4.ip_forward", "1\n"));
  EXPECT_EQ(forward, 1);
  for (const char* bad : {"2", "-1", "", " ", "x", "1x", "1 1", "99999999999"}) {
    EXPECT_EQ(table.set("net.ipv4.ip_forward", bad).error(), errc::inval) << bad;
  }
  EXPECT_EQ(forward, 1);
}

TEST_F(sysctl_test, an_unsigned_number_has_the_whole_range) {
  u32 lowat = 0;
  table.add("net.ipv4.tcp_notsent_lowat", lowat);
  EXPECT_TRUE(table.set("net.ipv4.tcp_notsent_lowat", "4294967295\n"));
  EXPECT_EQ(lowat, 4294967295u);
  EXPECT_EQ(*table.get("net.ipv4.tcp_notsent_lowat"), "4294967295");
  for (const char* bad : {"4294967296", "-1", "", "1 2"}) {
    EXPECT_EQ(table.set("net.ipv4.tcp_notsent_lowat", bad).error(), errc::inval) << bad;
  }
}

TEST_F(sysctl_test, numbers_may_be_hexadecimal_or_octal) {
  EXPECT_TRUE(table.set("net.ipv4.tcp_rmem", "0x10 010 0X20"));
  EXPECT_EQ(rmem, (std::array<s32, 3>{16, 8, 32}));
  EXPECT_TRUE(table.set("net.ipv4.ip_forward", "0"));
  for (const char* bad : {"0x", "0x2", "08", "0y1", "--1", "-"}) {
    EXPECT_EQ(table.set("net.ipv4.ip_forward", bad).error(), errc::inval) << bad;
  }
}

TEST_F(sysctl_test, several_numbers_are_set_together_or_not_at_all) {
  EXPECT_EQ(table.get("net.ipv4.tcp_rmem"), "4096\t131072\t6291456");
  EXPECT_FALSE(table.set("net.ipv4.tcp_rmem", "1 2"));
  EXPECT_FALSE(table.set("net.ipv4.tcp_rmem", "1 2 0"));
  EXPECT_EQ(rmem[0], 4096);
  EXPECT_TRUE(table.set("net.ipv4.tcp_rmem", " 1\t2  3 "));
  EXPECT_EQ(rmem, (std::array<s32, 3>{1, 2, 3}));
}

TEST_F(sysctl_test, words_are_checked) {
  EXPECT_TRUE(table.set("net.ipv4.tcp_congestion_control", "reno\n"));
  EXPECT_EQ(congestion, "reno");
  EXPECT_EQ(table.set("net.ipv4.tcp_congestion_control", "vegas").error(), errc::inval);
  EXPECT_EQ(table.set("net.ipv4.tcp_congestion_control", "").error(), errc::inval);
  EXPECT_EQ(table.get("net.ipv4.tcp_congestion_control"), "reno");
}

TEST_F(sysctl_test, texts_are_made_when_read_and_cannot_be_written) {
  std::string* word = &congestion;
  table.add("net.ipv4.tcp_available_congestion_control", [word] { return "reno " + *word; });
  EXPECT_EQ(table.get("net.ipv4.tcp_available_congestion_control"), "reno cubic");
  congestion = "vegas";
  EXPECT_EQ(table.get("net.ipv4.tcp_available_congestion_control"), "reno vegas");
  EXPECT_EQ(table.set("net.ipv4.tcp_available_congestion_control", "x").error(), errc::acces);
}

TEST_F(sysctl_test, names_may_be_written_as_paths) {
  EXPECT_TRUE(table.set("net/ipv4/ip_forward", "1"));
  EXPECT_EQ(table.get("net/ipv4/ip_forward"), "1");
  EXPECT_EQ(table.get("net.ipv4.nothing").error(), errc::noent);
  EXPECT_EQ(table.set("net.ipv4.nothing", "1").error(), errc::noent);
  EXPECT_EQ(table.names().size(), 3u);
}

/// sysctl(8): the first of both characters parts the name, and the other one is a device's own dot.
TEST_F(sysctl_test, a_device_may_have_dots_in_its_name) {
  s32 value = 1;
  table.add("neigh.eth0/1.time", value, 0, 9);
  EXPECT_TRUE(table.set("neigh.eth0/1.time", "2"));
  EXPECT_TRUE(table.set("neigh/eth0.1/time", "3"));
  EXPECT_EQ(value, 3);
  for (const char* const other : {"neigh.eth0.1.time", "neigh/eth0/1/time", "neigh.eth0/1/time"}) {
    EXPECT_EQ(table.get(other).error(), errc::noent) << other;
  }
}

TEST_F(sysctl_test, a_value_may_have_a_larger_unit_and_somebody_to_inherit_from) {
  s32 all = 30'000, own = -1;
  table.add_scaled("neigh.default.time_ms", all, 1, nullptr);
  table.add_scaled("neigh.default.time", all, 1000, nullptr);
  table.add_scaled("neigh.eth0.time_ms", own, 1, &all);
  table.add_scaled("neigh.eth0.time", own, 1000, &all);
  EXPECT_EQ(table.get("neigh.eth0.time").value_or(""), "30");
  EXPECT_TRUE(table.set("neigh.default.time_ms", "1001"));
  EXPECT_EQ(table.get("neigh.eth0.time").value_or(""), "2") << "rounded up";
  EXPECT_EQ(table.get("neigh.eth0.time_ms").value_or(""), "1001");
  EXPECT_TRUE(table.set("neigh.eth0.time", "7"));
  EXPECT_EQ(own, 7000);
  EXPECT_EQ(all, 1001);
  EXPECT_EQ(table.set("neigh.eth0.time", "2147484").error(), errc::inval) << "in the small unit";
  EXPECT_EQ(table.set("neigh.eth0.time", "-1").error(), errc::inval);
}

TEST_F(sysctl_test, settings_go_with_what_they_are_about) {
  s32 value = 1;
  for (const char* const name : {"neigh.eth0.a", "neigh.eth0.b", "neigh.eth01.a", "neigh.et"}) {
    table.add(name, value, 0, 9);
  }
  table.remove_all("neigh.eth0.");
  EXPECT_EQ(table.get("neigh.eth0.a").error(), errc::noent);
  EXPECT_EQ(table.get("neigh.eth0.b").error(), errc::noent);
  EXPECT_TRUE(table.get("neigh.eth01.a"));
  EXPECT_TRUE(table.get("neigh.et"));
}

}  // namespace
}  // namespace ph
