#include "holdfast/app/config_headers.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

const std::string underscores_pass = "[server]\nunderscore_headers = \"pass\"\n";

}  // namespace

TEST_CASE("nothing may depend on a header that no request has") {
  const std::string keyed = "idempotency = { enabled = true, ";
  for (const std::string& document :
       {with_route("match = { headers = { X_Tier = \"gold\" } }\n"),
        with_route("timeout = { deadline_header = \"X_Tier\" }\n"),
        with_route(keyed + "header = \"X_Tier\" }\n"),
        with_route(keyed + "scope = [\"authorization\", \"header:X_Tier\"] }\n"),
        "[defaults]\n" + keyed + "scope = [\"header:X_Tier\"] }\n" + with_route(""),
        "[defaults.timeout]\ndeadline_header = \"X_Tier\"\n" + with_route(""),
        "[upstream.b]\nendpoints = [\"http://b\"]\n" + keyed + "header = \"X_Tier\" }\n",
        std::string("[upstream.b]\nendpoints = [\"http://b\"]\nbalance = \"consistent_hash\"\n"
                    "hash_key = \"header:X_Tier\"\n")}) {
    CAPTURE(document);
    CHECK(refuses(document,
                  "error: no request has a header \"X_Tier\" where "
                  "server.underscore_headers is \"drop\""));
    CHECK(refuses("[server]\nunderscore_headers = \"reject\"\n" + document, "is \"reject\""));
    CHECK(errors_of(underscores_pass + document).empty());
  }
  // What is written and not read may be called so.
  CHECK(errors_of(with_route("rewrite = { set_headers = { X_Tier = \"1\" }, "
                             "remove_headers = [\"X_Tier\"] }\n"))
            .empty());
}

TEST_CASE("crooked tables are no concern of names") {
  const std::string errors = errors_of("route = 1\nupstream = [1]\ndefaults = 2\n");
  CHECK(errors.find("no request has") == std::string::npos);
  CHECK(errors_of(with_route("match = { headers = 1 }\ntimeout = 1\n"
                             "idempotency = { scope = 1, header = 2 }\n"))
            .find("no request has") == std::string::npos);
}

TEST_CASE("the deadline stands in a header that means nothing else") {
  for (const std::string name :
       {"Content-Length", "Transfer-Encoding", "Host", "Connection", "X-Request-Id", "Max-Forwards",
        "Via", "Expect", "Keep-Alive", "x-forwarded-for", "X-Forwarded-Client-Cert",
        "Authorization", "Cookie", "Idempotency-Key", "X Y"}) {
    CAPTURE(name);
    CHECK_FALSE(is_deadline_header(name));
    CHECK(refuses(with_route("timeout = { deadline_header = \"" + name + "\" }\n"),
                  "must be the name of a header that means nothing else"));
  }
  CHECK(is_deadline_header(""));
  CHECK(is_deadline_header("X-Deadline-Ms"));
  CHECK(is_deadline_header("Grpc-Timeout"));
}

TEST_CASE("what holdfast writes for its own hop is neither set nor removed") {
  for (const std::string name : {"Via", "Max-Forwards", "expect", "Host", "Connection"}) {
    CAPTURE(name);
    CHECK(is_own_header(name));
    CHECK_FALSE(is_key_header(name));
    CHECK(refuses(with_route("rewrite.set_headers = { " + name + " = \"1\" }\n"),
                  "is set by holdfast itself"));
    CHECK(refuses(with_route("rewrite.remove_headers = [\"" + name + "\"]\n"),
                  "a header that holdfast does not set itself"));
  }
  CHECK(is_removable_header("Authorization"));
  CHECK(is_key_header("X-Request-Id"));
}

TEST_CASE("a trailer says nothing that had to be known before the body") {
  for (const std::string name :
       {"Authorization", "Content-Type", "Content-Encoding", "Content-Range", "Content-Length",
        "Set-Cookie", "Cookie", "Cache-Control", "Trailer", "Host", "Idempotency-Key",
        "X-Forwarded-For", "Location", "X-Request-Id", "If-Match", "a b"}) {
    CAPTURE(name);
    CHECK_FALSE(is_trailer(name));
    CHECK(refuses(with_route("trailers = [\"" + name + "\"]\n"), "a header that may be a trailer"));
  }
  for (const std::string name : {"Digest", "X-Checksum", "Server-Timing", "ETag"}) {
    CHECK(is_trailer(name));
  }
}

}  // namespace holdfast::app
