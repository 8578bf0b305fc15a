#include "holdfast/app/metric_cells.h"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>

using namespace holdfast;
using namespace holdfast::app;
using namespace std::chrono_literals;

namespace {

Histogram::Total total_of(const Histogram& histogram) {
  Histogram::Total total;
  histogram.add_to(total);
  return total;
}

}  // namespace

TEST_CASE("a counter counts, and adds itself to a total") {
  Counter counter;
  counter.add();
  counter.add(4);
  Counter::Total total = 10;
  counter.add_to(total);
  CHECK(total == 15);
}

TEST_CASE("a bound belongs to its bucket, what is longer to the next") {
  for (std::size_t i = 0; i < Histogram::bounds.size(); ++i) {
    CAPTURE(i);
    Histogram histogram;
    histogram.observe(Histogram::bounds[i]);
    histogram.observe(Histogram::bounds[i] + 1ns);
    const Histogram::Total total = total_of(histogram);
    CHECK(total.counts[i] == 1);
    CHECK(total.counts[i + 1] == 1);
    CHECK(total.samples() == 2);
  }
}

TEST_CASE("durations at the ends are counted and summed") {
  Histogram histogram;
  histogram.observe(-5ns);
  histogram.observe(0ns);
  histogram.observe(24h);
  const Histogram::Total total = total_of(histogram);
  CHECK(total.counts.front() == 2);
  CHECK(total.counts.back() == 1);
  CHECK(total.nanoseconds == static_cast<std::uint64_t>(Duration(24h).count()));
}

TEST_CASE("a table keeps one cell for each slot and key, whatever is added around it") {
  SlotTable<std::string, Counter> table;
  Counter& first = table.at(3, std::string_view("a"));
  for (proxy::Slot slot = 0; slot < 50; ++slot) {
    for (const std::string_view key : {"a", "b", "c"}) table.at(slot, key).add(slot);
  }
  CHECK(&table.at(3, std::string_view("a")) == &first);

  std::map<std::pair<proxy::Slot, std::string>, std::uint64_t> seen;
  table.for_each([&seen](proxy::Slot slot, const std::string& key, const Counter& cell) {
    cell.add_to(seen[{slot, key}]);
  });
  CHECK(seen.size() == 150);
  CHECK(seen[{3, "a"}] == 3);
  CHECK(seen[{49, "c"}] == 49);
}
