#include "holdfast/http/fields.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace holdfast::http {
namespace {

std::vector<std::string> elements(std::string_view list) {
  std::vector<std::string> found;
  for_each_element(list, [&found](std::string_view element) {
    found.emplace_back(element);
    return true;
  });
  return found;
}

using Elements = std::vector<std::string>;

}  // namespace

TEST_CASE("a name that is nearly known has no id") {
  for (const std::string_view name :
       {"", "hos", "hostt", "h0st", "content_length", "content-length ", "x-forwarded-fox", "te,",
        "a-name-that-is-longer-than-every-known-one"}) {
    CAPTURE(name);
    CHECK(field_name(name) == FieldName::other);
  }
}

TEST_CASE("a known name is found whatever its case") {
  struct Example {
    std::string_view name;
    FieldName id;
  };
  const Example examples[] = {
      {"TE", FieldName::te},
      {"Age", FieldName::age},
      {"HOST", FieldName::host},
      {"Expect", FieldName::expect},
      {"Alt-Svc", FieldName::alt_svc},
      {"upgrade", FieldName::upgrade},
      {"Location", FieldName::location},
      {"cOnTeNt-LeNgTh", FieldName::content_length},
      {"Transfer-Encoding", FieldName::transfer_encoding},
      {"Idempotency-Key", FieldName::idempotency_key},
      {"X-Request-Id", FieldName::x_request_id},
      {"Proxy-Authorization", FieldName::proxy_authorization},
  };
  for (const Example& example : examples) {
    CAPTURE(example.name);
    CHECK(field_name(example.name) == example.id);
  }
}

TEST_CASE("hop-by-hop fields are those of RFC 9110 and no others") {
  int count = 0;
  for (int id = 0; id <= static_cast<int>(FieldName::x_request_id); ++id) {
    count += is_hop_by_hop(static_cast<FieldName>(id)) ? 1 : 0;
  }
  CHECK(count == 10);
  for (const std::string_view name :
       {"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
        "Upgrade", "HTTP2-Settings", "Proxy-Authenticate", "Proxy-Authorization"}) {
    CAPTURE(name);
    CHECK(is_hop_by_hop(field_name(name)));
  }
}

TEST_CASE("fields keep their order and are found by id and by name") {
  Fields fields;
  CHECK(fields.find(FieldName::host) == nullptr);
  CHECK(fields.value(FieldName::host).empty());
  fields.add("X-A", "1");
  fields.add("Host", "a");
  fields.add("x-a", "2");
  fields.add("HOST", "b");
  CHECK(fields.size() == 4);
  CHECK(fields.find("X-a")->value == "1");
  CHECK(fields.find("x-b") == nullptr);
  CHECK(fields.value(FieldName::host) == "a");
  CHECK(fields.count(FieldName::host) == 2);
  CHECK_FALSE(fields.has(FieldName::via));
  fields.clear();
  CHECK(fields.empty());
}

TEST_CASE("a token is made of token characters only") {
  for (const std::string_view text :
       {"", " ", "a b", "a:", "a\t", "\"a\"", "a,b", "\x7f", "\xe9", "a/b"}) {
    CAPTURE(text);
    CHECK_FALSE(is_token(text));
  }
  CHECK(is_token(std::string_view("\0", 1)) == false);
  CHECK(is_token("GET"));
  CHECK(is_token("!#$%&'*+-.^_`|~09azAZ"));
}

TEST_CASE("a field value has no control byte but HTAB") {
  for (const std::string_view text : {"a\rb", "a\nb", "\x01", "a\x7f", "\x0b"}) {
    CHECK_FALSE(is_field_value(text));
  }
  CHECK_FALSE(is_field_value(std::string_view("a\0b", 3)));
  CHECK(is_field_value(""));
  CHECK(is_field_value("a\tb \xff"));
}

TEST_CASE("a list is cut at commas outside of quotes") {
  CHECK(elements("") == Elements{});
  CHECK(elements(" , ,\t,") == Elements{});
  CHECK(elements("a") == Elements{"a"});
  CHECK(elements(" a ,\tb c,") == Elements{"a", "b c"});
  CHECK(elements(R"(a="x,y", b)") == Elements{R"(a="x,y")", "b"});
  CHECK(elements(R"("x\",y", b)") == Elements{R"("x\",y")", "b"});
  CHECK(elements(R"("never closed, b)") == Elements{R"("never closed, b)"});
  CHECK(elements(R"("\)") == Elements{R"("\)"});
}

TEST_CASE("a visit that returns false stops") {
  int visits = 0;
  for_each_element("a, b, c", [&visits](std::string_view) { return ++visits < 2; });
  CHECK(visits == 2);
}

TEST_CASE("a token is looked for in every line of its name") {
  Fields fields;
  fields.add("Connection", "keep-alive, X-Secret");
  fields.add("Connection", "CLOSE");
  fields.add("Via", "upgrade");
  CHECK(lists_token(fields, FieldName::connection, "close"));
  CHECK(lists_token(fields, FieldName::connection, "x-secret"));
  CHECK_FALSE(lists_token(fields, FieldName::connection, "x-secre"));
  CHECK_FALSE(lists_token(fields, FieldName::connection, "upgrade"));
}

}  // namespace holdfast::http
