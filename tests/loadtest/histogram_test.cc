#include "loadtest/histogram.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "loadtest/plot.h"

namespace loadtest {
namespace {

TEST_CASE("nothing recorded is nothing told") {
  const Histogram none;
  CHECK(none.count() == 0);
  CHECK(none.greatest() == 0);
  CHECK(none.at(0.5) == 0);
}

TEST_CASE("a value is told with at most 0.1 % more, at every border of its buckets") {
  for (unsigned bit = 0; bit < 40; ++bit) {
    for (const std::uint64_t value :
         {(std::uint64_t{1} << bit) - 1, std::uint64_t{1} << bit, (std::uint64_t{1} << bit) + 1}) {
      CAPTURE(value);
      Histogram one;
      one.record(value);
      one.record((std::uint64_t{1} << 40) - 1);  // or the greatest would hide the bucket's end
      const std::uint64_t told = one.at(0.5);
      CHECK(told >= value);
      CHECK(told - value <= value / 1000);
    }
  }
}

TEST_CASE("no value is told above the greatest, and none is too large") {
  Histogram one;
  one.record(5'000'001);
  CHECK(one.at(1) == 5'000'001);
  one.record(~std::uint64_t{0});
  CHECK(one.greatest() == (std::uint64_t{1} << 40) - 1);
  CHECK(one.count() == 2);
}

TEST_CASE("a percentile is the value that so many do not exceed") {
  Histogram hundred;
  for (std::uint64_t value = 1; value <= 100; ++value) hundred.record(value);
  CHECK(hundred.at(0) == 1);
  CHECK(hundred.at(0.01) == 1);
  CHECK(hundred.at(0.011) == 2);
  CHECK(hundred.at(0.50) == 50);
  CHECK(hundred.at(0.99) == 99);
  CHECK(hundred.at(1) == 100);
}

TEST_CASE("a plot is an SVG, with the title as text and a point for the greatest at its top") {
  Histogram two;
  two.record(1'000);
  two.record(250'000);
  const std::string svg = plot_of(two, "a<b>&c");
  CHECK(svg.starts_with("<svg "));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(svg.find("a&#60;b&#62;&#38;c") != std::string::npos);
  CHECK(svg.find("250 ms") != std::string::npos);
  CHECK(svg.find(" 40.0\" fill=\"none\"") != std::string::npos);
  CHECK(svg.find("nan") == std::string::npos);
}

}  // namespace
}  // namespace loadtest
