#include "holdfast/policy/idempotency_key.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace holdfast::policy {
namespace {

/// The key, or the name of what is wrong with it after a "!".
std::string parsed(std::string_view value, KeySyntax syntax = KeySyntax::lenient,
                   std::uint64_t max_length = 255) {
  const auto key = parse_key(value, syntax, max_length);
  return key ? *key : "!" + std::string(name(key.error()));
}

struct KeyCase {
  std::string value;
  std::string expected;
};

void check_all(const std::vector<KeyCase>& cases) {
  for (const KeyCase& one : cases) {
    CAPTURE(one.value);
    CHECK(parsed(one.value) == one.expected);
  }
}

std::string quoted(const std::string& key) {
  std::string text = "\"";
  for (const char c : key) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

const FingerprintInput some_request{"POST", "/charges", "a=1", "application/json", "gzip", "{}"};

}  // namespace

TEST_CASE("a field value that is empty is a wrong key, not an absent one") {
  check_all({{"", "!empty"}, {"  \t", "!empty"}, {"\"\"", "!empty"}, {"\"\";a=1", "!empty"}});
}

TEST_CASE("a bare key is visible characters without those of a list or a string") {
  check_all({{"abc", "abc"},
             {" \tabc\t ", "abc"},
             {"ABC", "ABC"},
             {"8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"},
             {"auto:x_y-z", "auto:x_y-z"},
             {"a=b&c(d)[e]{f}<g>@?!", "a=b&c(d)[e]{f}<g>@?!"},
             {"a b", "!charset"},
             {"a\tb", "!charset"},
             {std::string("a\0b", 3), "!charset"},
             {"a\x7f", "!charset"},
             {"caf\xc3\xa9", "!charset"},
             {"a,b", "!syntax"},
             {"a,", "!syntax"},
             {"a;b=1", "!syntax"},
             {"a\"b", "!syntax"},
             {"a\\b", "!syntax"}});
}

TEST_CASE("a quoted key is a structured field's string, decoded") {
  check_all({{R"("abc")", "abc"},
             {"  \"abc\"\t", "abc"},
             {R"("a b,c;d")", "a b,c;d"},
             {R"("a\"b\\c")", R"(a"b\c)"},
             {R"("a\nb")", "!syntax"},
             {R"("abc)", "!syntax"},
             {R"("abc\)", "!syntax"},
             {R"("abc\")", "!syntax"},
             {R"(")", "!syntax"},
             {R"("a" x)", "!syntax"},
             {R"("a"b)", "!syntax"},
             {R"("a", "b")", "!syntax"},
             {R"("a" ;b)", "!syntax"},
             {"\"caf\xc3\xa9\"", "!charset"},
             {"\"a\tb\"", "!charset"},
             {"\"a\x1f\"", "!charset"}});
}

TEST_CASE("the parameters of a quoted key are checked and ignored") {
  for (const std::string_view right :
       {";a", ";  a", ";*x-_.9=1", ";a=-1.250", ";a=123456789012345", R"(;a="x;\"y")",
        ";a=tok/en:", ";a=*", ";a=:aGk=:", ";a=::", ";a=?0;b=?1", ";a=@1659578233", ";a=@-1",
        ";a=%\"%c3%a9x\"", ";a;b;c=2"}) {
    CAPTURE(right);
    CHECK(parsed("\"k\"" + std::string(right)) == "k");
  }
  for (const std::string_view wrong : {";",
                                       ";A=1",
                                       ";9",
                                       ";a=",
                                       ";a =1",
                                       ";a= 1",
                                       ";a;",
                                       ";a=1.",
                                       ";a=1.2345",
                                       ";a=.5",
                                       ";a=-",
                                       ";a=1234567890123456",
                                       ";a=1234567890123.5",
                                       ";a=\"x",
                                       ";a=:aGk=",
                                       ";a=:a k:",
                                       ";a=?2",
                                       ";a=@",
                                       ";a=@1.5",
                                       ";a=%\"%C3\"",
                                       ";a=%\"%c\"",
                                       ";a=%x",
                                       ";a=%\"x",
                                       ";a=(1)",
                                       ";a=1,",
                                       ";\ta"}) {
    CAPTURE(wrong);
    const std::string fault = parsed("\"k\"" + std::string(wrong));
    CHECK((fault == "!syntax" || fault == "!charset"));
  }
}

TEST_CASE("quoted and bare are the same key, and case tells keys apart") {
  CHECK(parsed("\"abc\"") == parsed("abc"));
  CHECK(parsed("\"abc\"") != parsed("aBc"));
}

TEST_CASE("a key has 1 to max_key_length characters, counted when it is decoded") {
  const std::string longest(255, 'k');
  CHECK(parsed(longest) == longest);
  CHECK(parsed(quoted(longest)) == longest);
  CHECK(parsed(longest + "k") == "!length");
  CHECK(parsed(quoted(longest + "k")) == "!length");
  CHECK(parsed(R"("\"\"")", KeySyntax::lenient, 2) == "\"\"");
  CHECK(parsed("abc", KeySyntax::lenient, 2) == "!length");
}

TEST_CASE("strict takes a structured field's string only") {
  CHECK(parsed("\"abc\"", KeySyntax::strict) == "abc");
  CHECK(parsed("abc", KeySyntax::strict) == "!syntax");
  CHECK(parsed(" ", KeySyntax::strict) == "!empty");
}

TEST_CASE("every fault has its name") {
  CHECK(name(KeyFault::empty) == "empty");
  CHECK(name(KeyFault::length) == "length");
  CHECK(name(KeyFault::charset) == "charset");
  CHECK(name(KeyFault::syntax) == "syntax");
  CHECK(name(KeyFault::multiple) == "multiple");
}

TEST_CASE("whatever printable key is quoted comes back as it was") {
  CHECK(rc::check("round trip of a quoted key", [] {
    const auto length = *rc::gen::inRange<std::size_t>(1, 256);
    const auto key = *rc::gen::container<std::string>(length, rc::gen::inRange<char>(0x20, 0x7f));
    RC_ASSERT(parsed(quoted(key), KeySyntax::strict) == key);
    RC_ASSERT(parsed(" " + quoted(key) + ";a=1") == key);
  }));
}

TEST_CASE("no bytes at all make the parser accept what a key cannot be") {
  CHECK(rc::check("an accepted key is printable and bounded", [](const std::string& value) {
    const auto key = parse_key(value, KeySyntax::lenient, 10);
    if (!key) return;
    RC_ASSERT(!key->empty() && key->size() <= 10);
    for (const char c : *key) RC_ASSERT(c >= 0x20 && c < 0x7f);
  }));
}

TEST_CASE("a scope tells sources, values and their number apart") {
  using Kind = ScopeSource::Kind;
  using Request = std::map<std::string, std::vector<std::string_view>, std::less<>>;
  const auto scope = [](const std::vector<ScopeSource>& sources, const Request& request) {
    return scope_of(sources, [&request](std::string_view name) {
      const auto found = request.find(name);
      return found == request.end() ? std::vector<std::string_view>() : found->second;
    });
  };
  const std::vector<ScopeSource> sources = {{Kind::authorization, ""}, {Kind::header, "x-tenant"}};
  const std::vector<Request> requests = {
      {},
      {{"authorization", {"a"}}},
      {{"authorization", {""}}},
      {{"x-tenant", {"a"}}},
      {{"authorization", {"a"}}, {"x-tenant", {"a"}}},
      {{"authorization", {"a"}}, {"x-tenant", {"b"}}},
      {{"authorization", {"a", "a"}}, {"x-tenant", {"a"}}},
      {{"authorization", {"a"}}, {"x-tenant", {"a", "a"}}},
      {{"authorization", {"x-tenant", "1", "b"}}},
      {{"authorization", {"a", "b"}}},
      {{"authorization", {"ab"}}},
  };
  std::set<Digest> digests;
  for (const Request& request : requests) {
    const Scope one = scope(sources, request);
    CHECK(digests.insert(one.digest).second);
    CHECK(one.missing == (request.size() < 2));
    CHECK(scope(sources, request).digest == one.digest);
  }

  const Request jwt = {{"authorization", {"Bearer a.b.c"}}, {"x-tenant", {"Bearer a.b.c"}}};
  CHECK(scope(sources, jwt).renewable);
  CHECK_FALSE(scope({{Kind::header, "x-tenant"}}, jwt).renewable);
  CHECK_FALSE(scope(sources, requests[5]).renewable);

  const Scope nobody = scope({{Kind::none, ""}}, jwt);
  CHECK_FALSE(nobody.missing);
  CHECK(nobody.digest == scope({}, {}).digest);
}

TEST_CASE("each part of a record's identity tells records apart") {
  Digest scope{};
  scope[31] = 1;
  const std::set<Digest> ids = {
      record_id("charge", {}, "POST", "k"),  record_id("charge", scope, "POST", "k"),
      record_id("charge", {}, "PATCH", "k"), record_id("charge", {}, "POST", "K"),
      record_id("refund", {}, "POST", "k"),  record_id("chargeP", {}, "OST", "k"),
      record_id("charge", {}, "POSTk", ""),
  };
  CHECK(ids.size() == 7);
  CHECK(record_id("charge", scope, "POST", "k") == record_id("charge", scope, "POST", "k"));
}

TEST_CASE("no two different identities run into each other") {
  using Parts = std::tuple<std::string, Digest, std::string, std::string>;
  const auto id = [](const Parts& parts) {
    return record_id(std::get<0>(parts), std::get<1>(parts), std::get<2>(parts),
                     std::get<3>(parts));
  };
  CHECK(rc::check("equal ids only for equal parts", [&](const Parts& a, const Parts& b) {
    RC_ASSERT((id(a) == id(b)) == (a == b));
  }));
  CHECK(rc::check("a byte moved over a border is another identity",
                  [&](const std::string& left, const std::string& right) {
                    RC_PRE(!right.empty());
                    const Parts moved{left + right[0], {}, right.substr(1), "k"};
                    RC_ASSERT(id({left, {}, right, "k"}) != id(moved));
                  }));
}

TEST_CASE("the full fingerprint holds everything that the request asks for") {
  const Digest base = fingerprint(FingerprintOf::full, some_request);
  CHECK(fingerprint(FingerprintOf::full, some_request) == base);
  for (std::string_view FingerprintInput::*part :
       {&FingerprintInput::method, &FingerprintInput::path, &FingerprintInput::query,
        &FingerprintInput::content_type, &FingerprintInput::content_encoding,
        &FingerprintInput::body}) {
    FingerprintInput other = some_request;
    other.*part = "other";
    CHECK(fingerprint(FingerprintOf::full, other) != base);
    other.*part = "";
    CHECK(fingerprint(FingerprintOf::full, other) != base);
  }
}

TEST_CASE("a fingerprint of the body looks at nothing else, and none at nothing") {
  FingerprintInput elsewhere = some_request;
  elsewhere.path = "/refunds";
  elsewhere.content_type = "text/plain";
  FingerprintInput other_body = some_request;
  other_body.body = "[]";
  CHECK(fingerprint(FingerprintOf::body, some_request) ==
        fingerprint(FingerprintOf::body, elsewhere));
  CHECK(fingerprint(FingerprintOf::body, some_request) !=
        fingerprint(FingerprintOf::body, other_body));
  CHECK(fingerprint(FingerprintOf::none, some_request) ==
        fingerprint(FingerprintOf::none, other_body));
  CHECK(fingerprint(FingerprintOf::none, some_request) !=
        fingerprint(FingerprintOf::body, FingerprintInput{}));
}

TEST_CASE("no two different requests have one fingerprint") {
  using Parts = std::tuple<std::string, std::string, std::string>;
  const auto of = [](const Parts& parts) {
    return fingerprint(FingerprintOf::full, {"POST", std::get<0>(parts), std::get<1>(parts), "", "",
                                             std::get<2>(parts)});
  };
  CHECK(
      rc::check("equal fingerprints only for equal requests",
                [&](const Parts& a, const Parts& b) { RC_ASSERT((of(a) == of(b)) == (a == b)); }));
}

TEST_CASE("a generated key is auto: and a digest of what makes two requests the same") {
  const std::string key = generated_key({}, some_request);
  CHECK(key.starts_with("auto:"));
  CHECK(key.size() == 5 + 43);
  CHECK(parsed(key) == key);
  CHECK(parsed(quoted(key)) == key);
  CHECK(generated_key({}, some_request) == key);

  Digest scope{};
  scope[0] = 1;
  CHECK(generated_key(scope, some_request) != key);
  for (std::string_view FingerprintInput::*part :
       {&FingerprintInput::method, &FingerprintInput::path, &FingerprintInput::query,
        &FingerprintInput::body}) {
    FingerprintInput other = some_request;
    other.*part = "other";
    CHECK(generated_key({}, other) != key);
  }
}

TEST_CASE("a bearer token of three parts is a JWT") {
  CHECK(looks_like_jwt("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-_"));
  CHECK(looks_like_jwt("bearer  a.b.c"));
  for (const std::string_view other :
       {"", "Bearer", "Bearer ", "Bearer a.b", "Bearer a.b.c.d", "Bearer a..c", "Bearer .b.c",
        "Bearer a.b.", "Basic a.b.c", "Bearer a.b.c d", "Bearer sk_live_1"}) {
    CAPTURE(other);
    CHECK_FALSE(looks_like_jwt(other));
  }
}

TEST_CASE("every status is recorded or released as the table says") {
  const std::set<int> always_released = {401, 407, 408, 421, 425, 429};
  const std::set<int> released_with_retry_after = {409, 503};
  for (int status = 200; status <= 999; ++status) {
    for (const bool retry_after : {false, true}) {
      CAPTURE(status);
      CAPTURE(retry_after);
      const bool refusal = always_released.contains(status) ||
                           (retry_after && released_with_retry_after.contains(status));
      const bool server_error = status >= 500 && status <= 599;
      CHECK(is_refusal(status, retry_after) == refusal);
      CHECK(is_recorded(Recording::definitive, status, retry_after) == !refusal);
      CHECK(is_recorded(Recording::all, status, retry_after));
      CHECK(is_recorded(Recording::no_5xx, status, retry_after) == !(refusal || server_error));
      CHECK(is_recorded(Recording::success_only, status, retry_after) == (status < 400));
    }
  }
}

TEST_CASE("an interim response is never recorded") {
  for (const Recording recording :
       {Recording::definitive, Recording::all, Recording::no_5xx, Recording::success_only}) {
    CHECK_FALSE(is_recorded(recording, 100, false));
    CHECK_FALSE(is_recorded(recording, 199, true));
  }
}

}  // namespace holdfast::policy
