// MD5, SHA-1, HMAC-SHA-1 and AES-CMAC against the vectors of their documents.
#include <gtest/gtest.h>

#include <string>

#include "base/aes_cmac.h"
#include "base/md5.h"
#include "base/sha1.h"

namespace ph {
namespace {

std::string hex(byte_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const u8 b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

template <class Hash>
std::string digest(std::string_view text) {
  Hash h;
  h.update(bytes_of(text));
  return hex(h.finish());
}

TEST(md5, vectors_of_rfc_1321) {
  EXPECT_EQ(digest<md5>(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(digest<md5>("a"), "0cc175b9c0f1b6a831c399e269772661");
  EXPECT_EQ(digest<md5>("abc"), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(digest<md5>("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
  EXPECT_EQ(digest<md5>("abcdefghijklmnopqrstuvwxyz"), "c3fcd3d76192e4007dfb496cca67e13b");
  EXPECT_EQ(digest<md5>("1234567890123456789012345678901234567890123456789012345678901234567890"
                        "1234567890"),
            "57edf4a22be3c955ac49da2e2107b67a");
}

TEST(sha1, vectors_of_rfc_3174) {
  EXPECT_EQ(digest<sha1>("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(digest<sha1>("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  EXPECT_EQ(digest<sha1>(std::string(1'000'000, 'a')),
            "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

TEST(hash, pieces_make_the_same_digest_as_the_whole) {
  const std::string text(300, 'q');
  for (std::size_t cut = 0; cut < text.size(); cut += 7) {
    md5 h;
    h.update(bytes_of(std::string_view(text).substr(0, cut)));
    h.update(bytes_of(std::string_view(text).substr(cut)));
    EXPECT_EQ(hex(h.finish()), digest<md5>(text));
  }
}

TEST(hmac_sha1, vectors_of_rfc_2202) {
  hmac_sha1 first(std::vector<u8>(20, 0x0b));
  first.update(bytes_of(std::string_view("Hi There")));
  EXPECT_EQ(hex(first.finish()), "b617318655057264e28bc0b6fb378c8ef146be00");
  hmac_sha1 second(bytes_of(std::string_view("Jefe")));
  second.update(bytes_of(std::string_view("what do ya want for nothing?")));
  EXPECT_EQ(hex(second.finish()), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  hmac_sha1 long_key(std::vector<u8>(80, 0xaa));
  long_key.update(
      bytes_of(std::string_view("Test Using Larger Than Block-Size Key - Hash Key First")));
  EXPECT_EQ(hex(long_key.finish()), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
}

TEST(aes_cmac, vectors_of_rfc_4493) {
  const aes128::block key = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                             0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
  EXPECT_EQ(hex(aes128(key).encrypt({})), "7df76b0c1ab899b33e42f047b91b546f");
  const std::vector<u8> message = {
      0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93,
      0x17, 0x2a, 0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac,
      0x45, 0xaf, 0x8e, 0x51, 0x30, 0xc8, 0x1c, 0x46, 0xa3, 0x5c, 0xe4, 0x11};
  const std::pair<std::size_t, const char*> table[] = {
      {0, "bb1d6929e95937287fa37d129b756746"},
      {16, "070a16b46b4d4144f79bdd9dd04a287c"},
      {40, "dfa66747de9ae63030ca32611497c827"}};
  for (const auto& [length, want] : table) {
    aes_cmac whole(key);
    whole.update(byte_view(message).first(length));
    EXPECT_EQ(hex(whole.finish()), want) << length;
    aes_cmac pieces(key);
    for (std::size_t i = 0; i < length; ++i) pieces.update(byte_view(message).subspan(i, 1));
    EXPECT_EQ(hex(pieces.finish()), want) << length;
  }
}

}  // namespace
}  // namespace ph
