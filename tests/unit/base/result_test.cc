#include "holdfast/base/result.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "holdfast/base/error.h"

using namespace holdfast;

TEST_CASE("a result holds a value or an error") {
  const Result<int> good = 7;
  CHECK(good.has_value());
  CHECK(*good == 7);

  const Result<int> bad = unexpected(Error{ErrorType::dns_error, "no such name"});
  CHECK_FALSE(bad);
  CHECK(bad.error().type == ErrorType::dns_error);
  CHECK(bad.error().detail == "no such name");
}

TEST_CASE("value and error may be of one type") {
  const Result<std::string, std::string> good = std::string("value");
  const Result<std::string, std::string> bad = unexpected(std::string("reason"));
  CHECK(good.value() == "value");
  CHECK(bad.error() == "reason");
}

TEST_CASE("what only moves can be taken out") {
  Result<std::unique_ptr<int>> owned = std::make_unique<int>(3);
  const std::unique_ptr<int> taken = std::move(owned).value();
  CHECK(*taken == 3);
}

TEST_CASE("success without a value") {
  const Result<void> done;
  CHECK(done);
  const Result<void> failed = unexpected(Error{});
  CHECK_FALSE(failed);
  CHECK(failed.error().type == ErrorType::proxy_internal_error);
}
