// A disk that is full, failing or slow under the local store: keyed requests are refused, others
// are not disturbed, and nothing that was acknowledged is lost.
#include <sys/mount.h>

#include <cstdlib>
#include <optional>

#include "tests/fault/load.h"

using namespace holdfast::testing;

namespace {

constexpr Milliseconds scheduling{1500};  // what a busy machine may add to any wait

/// One keyed app and a store on a disk that does as it is told (disk_shim.c).
class Bench {
 public:
  explicit Bench(const std::string& store = "", bool with_shim = true)
      : setup_{.endpoints = {app.url()}} {
    setup_.route = "[route.idempotency]\nenabled = true\n";
    setup_.more = "[store]\nkind = \"local\"\nsync = \"full\"\ntimeout = \"2s\"\n" + store;
    RunOptions options;
    if (with_shim) {
      options.environment = {{"LD_PRELOAD", HOLDFAST_DISK_SHIM},
                             {"DISK_SHIM_PATH", "holdfast.db"},
                             {"DISK_SHIM_ORDERS", orders_.path() + "/orders"}};
    }
    holdfast.emplace(setup_, options);
    keyed.emplace(holdfast->address(), Ask::keyed);
    others.emplace(holdfast->address(), Ask::post);
  }

  void order(const std::string& what) { orders_.write("orders", what); }

  void check_refused() {
    CHECK(keyed->wait_for("503"));
    keyed->take();
    keyed->let_pass(30);
    const Tally refused = keyed->take();
    CHECK_MESSAGE(refused.of("503") == refused.total(), refused.text());
    CHECK(holdfast->metric("holdfast_idempotency_store_errors_total") > 0);
  }
  /// Requests without a key never notice.
  void check_others() {
    others->let_pass(100);
    const Tally tally = others->take();
    CHECK_MESSAGE(tally.of("201") == tally.total(), tally.text());
    CHECK(tally.slowest < scheduling);
  }
  /// A new process on the same file and an ordinary disk.
  void restart() {
    keyed->stop();
    others->stop();
    holdfast->ended_as_expected();
    holdfast->signal(SIGKILL);
    holdfast->process().wait_for_exit();
    holdfast->start_again();
  }
  void check_nothing_lost() {
    const std::vector<std::string> acknowledged = keyed->acknowledged();
    CHECK(acknowledged.size() > 10);
    CHECK(forgotten(*holdfast, acknowledged) == 0);
    CHECK(app.run_twice() == 0);
  }

  CountingApp app;
  std::optional<Holdfast> holdfast;
  std::optional<Load> keyed;
  std::optional<Load> others;

 private:
  TemporaryFolder orders_;
  Setup setup_;
};

/// The address sanitizer wants to be the first library of a process.
bool no_shim() {
  if (built_with_sanitizers) MESSAGE("skipped: no shim beside a sanitizer");
  return built_with_sanitizers;
}

/// A disk of its own that is soon full; null where this may not be made.
class SmallDisk {
 public:
  SmallDisk() {
    mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=512k") == 0;
    if (!mounted_) MESSAGE("skipped: no file system may be mounted here");
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  void grow() {
    CHECK(::mount("tmpfs", folder_.path().c_str(), "tmpfs", MS_REMOUNT, "size=64m") == 0);
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
  bool mounted_ = false;
};

}  // namespace

TEST_CASE("after a failed sync nothing more is acknowledged, and nothing is lost") {
  if (no_shim()) return;
  Bench bench;
  bench.keyed->let_pass(50);
  SUBCASE("a sync") {
    bench.order("fail-sync");
  }
  SUBCASE("a write") {
    bench.order("fail-write");
  }
  bench.check_refused();
  bench.check_others();
  bench.order("");  // what the disk says now is not to be believed
  bench.keyed->take();
  bench.keyed->let_pass(30);
  const Tally later = bench.keyed->take();
  CHECK_MESSAGE(later.of("503") == later.total(), later.text());
  bench.restart();
  bench.check_nothing_lost();
}

TEST_CASE("a disk that says it is full refuses until there is room") {
  if (no_shim()) return;
  Bench bench;
  bench.keyed->let_pass(50);
  bench.order("fill");
  bench.check_refused();
  bench.check_others();
  bench.order("");
  CHECK(bench.keyed->wait_for("201", 5s));
  bench.keyed->let_pass(20);
  bench.restart();
  bench.check_nothing_lost();
}

TEST_CASE("a slow disk holds up those with a key, and nobody else") {
  if (no_shim()) return;
  Bench bench;
  bench.keyed->let_pass(50);
  bench.order("slow-sync");
  CHECK(bench.keyed->wait_for("201"));
  bench.others->take();
  bench.others->let_pass(300);
  const Tally tally = bench.others->take();
  CHECK_MESSAGE(tally.of("201") == tally.total(), tally.text());
  CHECK(tally.slowest < 250ms);  // less than one sync takes
  bench.order("");
  bench.keyed->let_pass(20);
  bench.keyed->stop();
  CHECK(bench.keyed->take().of("wrong") == 0);
  bench.restart();
  bench.check_nothing_lost();
}

TEST_CASE("a small disk that fills up") {
  SmallDisk disk;
  if (!disk.mounted()) return;
  Bench bench("path = \"" + disk.path() + "/holdfast.db\"\n", false);
  bench.check_refused();
  bench.check_others();
  disk.grow();
  CHECK(bench.keyed->wait_for("201", 5s));
  bench.restart();
  bench.check_nothing_lost();
}
