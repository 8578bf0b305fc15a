#include "holdfast/store/redis_url.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace holdfast::store {
namespace {

using Transport = RedisUrl::Transport;

RedisUrl tcp(std::string host, std::uint16_t port = 6379, std::uint32_t database = 0) {
  return {Transport::tcp, std::move(host), port, "", "", "", database};
}
RedisUrl unix_socket(std::string path, std::uint32_t database = 0) {
  return {Transport::unix_socket, "", 6379, std::move(path), "", "", database};
}
RedisUrl as(RedisUrl url, std::string user, std::string password) {
  url.user = std::move(user);
  url.password = std::move(password);
  return url;
}
RedisUrl over_tls(RedisUrl url) {
  url.transport = Transport::tls;
  return url;
}

TEST_CASE("what is no Redis URL is refused, and the text keeps the secrets to itself") {
  const std::vector<std::string> urls{
      "",
      "http://secret:secret@h",
      "redis:",
      "redis://",
      "redis:///0",
      "redis://secret@h",
      "redis://secret:@h",
      "redis://secret:secret@",
      "redis://secret:sec%2@h",
      "redis://secret:sec%zzret@h",
      "redis://secret:sec/ret@h",
      "redis://secret:sec?ret@h",
      "redis://:secret@h:0",
      "redis://:secret@h:65536",
      "redis://:secret@h:port",
      "redis://:secret@h:",
      "redis://:secret@h/x",
      "redis://:secret@h/-1",
      "redis://:secret@h/0/1",
      "redis://:secret@h/2147483648",
      "redis://:secret@h/0?db=1",
      "redis://:secret@[::1",
      "redis://:secret@[h]",
      "redis://:secret@[::1]6379",
      "unix:",
      "unix://",
      "unix:secret.sock",
      "unix://:secret@host/path",
      "unix:/secret.sock?database=1",
      "unix:/secret.sock?db=x",
      "unix:/" + std::string(107, 'x'),
  };
  for (const std::string& url : urls) {
    CAPTURE(url);
    const auto parsed = parse_redis_url(url);
    REQUIRE(!parsed);
    CHECK(parsed.error().starts_with("store.url: "));
    CHECK(parsed.error().find("secret") == std::string::npos);
  }
}

TEST_CASE("a Redis URL says where, who and which database") {
  struct Case {
    std::string url;
    RedisUrl expected;
    std::string text;
  };
  const std::vector<Case> cases{
      {"redis://127.0.0.1:6379/0", tcp("127.0.0.1"), "redis://127.0.0.1:6379/0"},
      {"redis://cache", tcp("cache"), "redis://cache:6379/0"},
      {"redis://cache/", tcp("cache"), "redis://cache:6379/0"},
      {"redis://cache:7000/15", tcp("cache", 7000, 15), "redis://cache:7000/15"},
      {"redis://[::1]:7000", tcp("::1", 7000), "redis://[::1]:7000/0"},
      {"redis://:pass@h", as(tcp("h"), "", "pass"), "redis://h:6379/0"},
      {"redis://me:pass@h", as(tcp("h"), "me", "pass"), "redis://h:6379/0"},
      {"redis://a%40b:p%2fq%3A%25@h", as(tcp("h"), "a@b", "p/q:%"), "redis://h:6379/0"},
      {"redis://me:p@ss@h", as(tcp("h"), "me", "p@ss"), "redis://h:6379/0"},
      {"redis://me:a:b@h", as(tcp("h"), "me", "a:b"), "redis://h:6379/0"},
      {"rediss://me:pass@h/1", over_tls(as(tcp("h", 6379, 1), "me", "pass")), "rediss://h:6379/1"},
      {"unix:/run/r.sock", unix_socket("/run/r.sock"), "unix:/run/r.sock?db=0"},
      {"unix:///run/r.sock?db=3", unix_socket("/run/r.sock", 3), "unix:/run/r.sock?db=3"},
      {"unix:///run/a%20b", unix_socket("/run/a b"), "unix:/run/a b?db=0"},
      {"unix://me:pass@/run/r.sock", as(unix_socket("/run/r.sock"), "me", "pass"),
       "unix:/run/r.sock?db=0"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.url);
    const auto parsed = parse_redis_url(each.url);
    REQUIRE(parsed);
    CHECK(*parsed == each.expected);
    CHECK(parsed->text() == each.text);
  }
}

}  // namespace
}  // namespace holdfast::store
