// Lines that anybody may write to the control socket.
#include "daemon/control_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ph {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(control_request, names_and_plain_values) {
  const auto r = control_request::parse(
      R"({"verb":"capture","on":["a:eth0",7,"b",["c"],{"d":"e"}],"packets":3,"yes":true,
          "less":-1,"part":1.5,"none":null,"inner":{"verb":"down","on":["x"]}})");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->text("verb"), "capture");
  EXPECT_THAT(r->list("on"), ElementsAre("a:eth0", "", "b", "", ""));
  EXPECT_EQ(r->number("packets", 9), 3u);
  EXPECT_EQ(r->flag("yes"), true);
  for (const char* name : {"less", "part", "none", "inner", "nothing", "on"}) {
    EXPECT_EQ(r->number(name, 9), 9u) << name;
    EXPECT_EQ(r->text(name), "") << name;
    EXPECT_EQ(r->flag(name), std::nullopt) << name;
  }
  EXPECT_THAT(r->list("verb"), IsEmpty());
}

TEST(control_request, the_last_of_a_name_counts) {
  const auto r = control_request::parse(R"({"a":["x"],"a":"y","b":"z","b":[]})");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->text("a"), "y");
  EXPECT_THAT(r->list("a"), IsEmpty());
  EXPECT_EQ(r->text("b"), "");
}

TEST(control_request, what_is_no_object) {
  for (const char* line : {"", "7", "\"verb\"", "null", "[]", R"([{"verb":"down"}])", "{", "{}}",
                           R"({"verb":"down"} {"verb":"down"})", R"({"verb":})", "{7:7}",
                           R"({"a":1e999})", "{\"a\":\"\xff\"}"}) {
    EXPECT_FALSE(control_request::parse(line)) << line;
  }
  EXPECT_TRUE(control_request::parse("{}"));
}

TEST(control_request, any_depth) {
  const std::string open(30'000, '['), close(30'000, ']');
  EXPECT_FALSE(control_request::parse(open));
  EXPECT_FALSE(control_request::parse(open + close));
  const auto r = control_request::parse("{\"verb\":\"down\",\"a\":" + open + close + "}");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->text("verb"), "down");
}

}  // namespace
}  // namespace ph
