// A disk that is full, failing or slow under the local store: keyed requests are refused, others
// are not disturbed, and nothing that was acknowledged is lost.
#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
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
    // What is answered and not recorded waits for the store, here in vain.
    setup_.server = "drain_timeout = \"500ms\"";
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
    CHECK(holdfast->wait_metric("holdfast_idempotency_store_up", {}, 0));
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

Setup keyed_setup(const std::string& upstream, const std::string& file) {
  Setup setup{.endpoints = {upstream}};
  setup.route = "[route.idempotency]\nenabled = true\n";
  setup.more = "[store]\nkind = \"local\"\npath = \"" + file + "\"\n";
  return setup;
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
  SUBCASE("a file system that has become read-only") {
    bench.order("read-only");
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
  SUBCASE("the disk") {
    bench.order("fill");
  }
  SUBCASE("its owner's quota") {
    bench.order("quota");
  }
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

TEST_CASE("a disk that takes half of each write is written to until it has all") {
  if (no_shim()) return;
  Bench bench;
  bench.order("short-write");
  bench.keyed->take();
  bench.keyed->let_pass(50);
  const Tally tally = bench.keyed->take();
  CHECK_MESSAGE(tally.of("201") == tally.total(), tally.text());
  bench.restart();
  bench.check_nothing_lost();
}

TEST_CASE("nothing is acknowledged into a file that somebody has removed or cut short") {
  TemporaryFolder folder;
  const std::string file = folder.path() + "/holdfast.db";
  Bench bench("path = \"" + file + "\"\n", false);
  bench.keyed->let_pass(50);
  SUBCASE("removed") {
    std::filesystem::remove(file);
  }
  SUBCASE("cut short") {
    std::filesystem::resize_file(file, 0);
  }
  SUBCASE("with its folder") {
    std::filesystem::remove_all(folder.path());
  }
  bench.check_refused();
  bench.check_others();
  bench.keyed->stop();
  CHECK(bench.app.run_twice() == 0);
}

TEST_CASE("an answer whose bytes the disk has changed is not given") {
  TemporaryFolder folder;
  const std::string file = folder.path() + "/holdfast.db";
  Bench bench("path = \"" + file + "\"\n", false);
  bench.keyed->stop();
  const std::string target = "/the-answer-that-is-damaged";
  CHECK(bench.holdfast->post(target, "order", key_of(target)).status == 201);
  bench.holdfast->stop();
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    const std::string all{std::istreambuf_iterator<char>(bytes), {}};
    const auto at = all.find(target);
    REQUIRE(at != all.npos);
    bytes.seekp(static_cast<std::streamoff>(at));
    bytes.put('?');
  }
  bench.holdfast->start_again();
  CHECK(bench.holdfast->post(target, "order", key_of(target)).status == 503);
  CHECK(bench.app.runs(target) == 1);
  bench.others->stop();
}

TEST_CASE("a store that cannot be opened is no start, and the reason is told") {
  TemporaryFolder folder;
  const std::string file = folder.path() + "/holdfast.db";
  std::string path = file;
  std::string reason;
  std::optional<Holdfast> holder;
  SUBCASE("no folder") {
    path = folder.path() + "/none/holdfast.db";
    reason = "No such file or directory";
  }
  SUBCASE("a folder in its place") {
    std::filesystem::create_directory(file);
    reason = "Is a directory";
  }
  SUBCASE("another process has it") {
    holder.emplace(keyed_setup("http://127.0.0.1:1", file));
    reason = "held by another process";
  }
  SUBCASE("nonsense") {
    folder.write("holdfast.db", std::string(5000, 'x'));
    reason = "not a database";
  }
  Holdfast holdfast(keyed_setup("http://127.0.0.1:1", path), {.wait_until_ready = false});
  holdfast.ended_as_expected();
  CHECK(holdfast.process().wait_for_exit() == 3);
  const std::string told = holdfast.process().standard_error().text();
  CHECK_MESSAGE(told.find(reason) != told.npos, told);
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
