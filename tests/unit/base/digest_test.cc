#include "holdfast/base/digest.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace holdfast {
namespace {

Digest digest_of(const std::vector<std::string>& fields) {
  Digester digester;
  for (const std::string& field : fields) digester.field(field);
  return digester.finish();
}

std::string all_bytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

// The expected digests were computed by another implementation (Python's hashlib) of FIPS 180-4
// over the same bytes: each field behind its length. The first is the standard's own empty message.
TEST_CASE("a digest is SHA-256 over each field behind its length") {
  struct Case {
    std::vector<std::string> fields;
    std::string hex;
    std::string base64url;
  };
  const std::vector<Case> cases{
      {{},
       "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
       "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"},
      {{""},
       "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc",
       "r1Vw9aGBC3r3jK9LxwpmDw31HkK6-R1N5bIyjeDoPfw"},
      {{"abc"},
       "c3494ca1a2cf8eeb8a11ded316fb55b83c3bbbedb6313cd50415251e5d09e12f",
       "w0lMoaLPjuuKEd7TFvtVuDw7u-22MTzVBBUlHl0J4S8"},
      {{"ab", "c"},
       "601d5476e2ccfe2c87a2bba7a322659734a05749d5b5aa781f513e4912db0d5f",
       "YB1UduLM_iyHorunoyJllzSgV0nVtap4H1E-SRLbDV8"},
      {{std::string(1000, 'a')},
       "12927acabb6790a39811f5715096f18bba9d60990478f88d97d5d8f9c7ab750f",
       "EpJ6yrtnkKOYEfVxUJbxi7qdYJkEePiNl9XY-cerdQ8"},
      {{all_bytes()},
       "5c39b6afcce64d594eee7bc735ac6e270df2de733b9a473d59979a175565e6e0",
       "XDm2r8zmTVlO7nvHNaxuJw3y3nM7mkc9WZeaF1Vl5uA"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.hex);
    const Digest digest = digest_of(each.fields);
    CHECK(hex(digest) == each.hex);
    CHECK(base64url(digest) == each.base64url);
  }
}

TEST_CASE("fields cannot run into each other") {
  const std::vector<std::vector<std::string>> divisions{{"abc"},     {"ab", "c"}, {"a", "bc"},
                                                        {"abc", ""}, {"", "abc"}, {"a", "b", "c"}};
  for (std::size_t i = 0; i < divisions.size(); ++i) {
    for (std::size_t j = i + 1; j < divisions.size(); ++j) {
      CAPTURE(i);
      CAPTURE(j);
      CHECK(digest_of(divisions[i]) != digest_of(divisions[j]));
    }
  }
}

TEST_CASE("the bytes of a digest are its own, first to last") {
  const Digest digest = digest_of({"abc"});
  const std::string_view bytes = bytes_of(digest);
  REQUIRE(bytes.size() == 32);
  CHECK(static_cast<unsigned char>(bytes.front()) == 0xc3);
  CHECK(static_cast<unsigned char>(bytes.back()) == 0x2f);
}

}  // namespace
}  // namespace holdfast
