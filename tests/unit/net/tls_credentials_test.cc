#include "holdfast/net/tls_credentials.h"

#include <doctest/doctest.h>

#include <memory>
#include <thread>

namespace holdfast::net {
namespace {

struct Numbered {
  int number;
};

TEST_CASE("what began keeps its context, what begins takes the newest") {
  TlsCredentials<Numbered> credentials(std::make_shared<Numbered>(1));
  const auto begun = credentials.current();
  CHECK(credentials.current() == begun);
  credentials.replace(std::make_shared<Numbered>(2));
  CHECK(begun->number == 1);
  CHECK(credentials.current()->number == 2);
}

TEST_CASE("a context that nobody uses any more ends when it is replaced") {
  auto first = std::make_shared<const Numbered>(1);
  const std::weak_ptr<const Numbered> watched = first;
  TlsCredentials<Numbered> credentials(std::move(first));
  credentials.replace(std::make_shared<Numbered>(2));
  CHECK(watched.expired());
}

TEST_CASE("it is replaced by one thread while another begins connections") {
  constexpr int replacements = 1000;
  TlsCredentials<Numbered> credentials(std::make_shared<Numbered>(0));
  std::thread replacing([&] {
    for (int i = 1; i <= replacements; ++i) credentials.replace(std::make_shared<Numbered>(i));
  });
  int last = 0;
  bool in_order = true;
  while (last < replacements) {
    const int number = credentials.current()->number;
    in_order = in_order && number >= last;
    last = number;
  }
  replacing.join();
  CHECK(in_order);
}

}  // namespace
}  // namespace holdfast::net
