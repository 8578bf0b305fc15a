// Every case of the table against the binary, in one write, byte by byte, and at random cuts.
#include <atomic>
#include <mutex>
#include <set>

#include "tests/support/suite.h"
#include "tests/wire/wire_bench.h"

using namespace holdfast::testing;

namespace {

// What is held elsewhere: by id, and where.
const std::set<std::string> held_elsewhere = {
    "SL-007",  // thousands of idle connections, which greedy_test.cc holds
    "RS-082",  // TLS that ends without close_notify: tests/unit/net/tls_test.cc
};

struct Seeds {
  unsigned first;
  unsigned count;
};
constexpr Seeds many_cuts{1, 20};
// Where each connection begins with a handshake there is time for fewer; and they are others.
constexpr Seeds few_cuts{21, 5};
// Descriptors that a process opens for itself after it is ready.
constexpr std::size_t opened_late = 4;
constexpr std::size_t benches_at_once = 3;

struct Job {
  const WireCase* one;
  Cutting cutting;
};

bool is_impatient(const WireCase& one) {
  return !one.max_ms.empty();
}

bool is_short(const WireCase& one) {
  const std::string texts = one.segments.front().bytes + one.upstream_bytes.value_or("");
  return texts.find("{rep:") == texts.npos;
}

/// The slow ones first, so that they do not come last.
std::vector<Job> jobs_of(const std::vector<WireCase>& cases, bool impatient) {
  const Seeds cuts = clients_speak_tls() ? few_cuts : many_cuts;
  std::vector<Job> slow, quick;
  for (const WireCase& one : cases) {
    if (is_impatient(one) != impatient || held_elsewhere.contains(one.id)) continue;
    (one.is_slow() ? slow : quick).push_back({&one, {}});
    if (one.in_segments) continue;  // it says itself how it is cut
    quick.push_back({&one, {Cutting::Way::bytewise}});
    const bool often = !one.is_slow() && is_short(one);
    for (unsigned n = 0; n < (often ? cuts.count : 1); ++n) {
      quick.push_back({&one, {Cutting::Way::random, cuts.first + n}});
    }
  }
  slow.insert(slow.end(), quick.begin(), quick.end());
  return slow;
}

/// Jobs that several benches take from.
class Queue {
 public:
  explicit Queue(std::vector<Job> jobs) : jobs_(std::move(jobs)) {}

  void work(WireBench& bench) {
    for (std::size_t at = next_++; at < jobs_.size(); at = next_++) {
      const Job& job = jobs_[at];
      const Findings findings = bench.run(*job.one, job.cutting);
      const std::lock_guard lock(mutex_);
      for (const std::string& found : findings) {
        findings_.push_back(job.one->id + " " + job.cutting.name() + ": " + found);
      }
    }
  }

  const Findings& findings() const { return findings_; }

 private:
  const std::vector<Job> jobs_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  Findings findings_;
};

void report(const Findings& findings) {
  for (const std::string& found : findings) FAIL_CHECK(found);
}

/// Nothing is left behind: descriptors, memory, and log lines that nobody can explain.
void check_afterwards(WireBench& bench, std::size_t descriptors_before) {
  report(bench.log_findings());
  bench.upstream().close_connections();
  ChildProcess& process = bench.holdfast().process();
  const auto opened = [&] { return process.open_descriptors() - descriptors_before; };
  CHECK(eventually([&] { return opened() <= opened_late; }));
  if (!built_with_sanitizers) CHECK(process.resident_bytes() < 64 * 1024 * 1024);
}

void run_everything(const std::vector<WireCase>& cases) {
  Queue patient(jobs_of(cases, false));
  Queue impatient(jobs_of(cases, true));
  std::vector<std::unique_ptr<WireBench>> benches;
  std::vector<std::size_t> descriptors;
  for (std::size_t n = 0; n <= benches_at_once; ++n) {
    const auto pace = n == 0 ? WireBench::Pace::impatient : WireBench::Pace::patient;
    benches.push_back(std::make_unique<WireBench>(pace));
    descriptors.push_back(benches.back()->holdfast().process().open_descriptors());
  }
  std::vector<std::thread> threads;
  for (std::size_t n = 0; n <= benches_at_once; ++n) {
    Queue& queue = n == 0 ? impatient : patient;
    threads.emplace_back([&queue, &bench = *benches[n]] { queue.work(bench); });
  }
  for (std::thread& thread : threads) thread.join();
  report(patient.findings());
  report(impatient.findings());
  for (std::size_t n = 0; n <= benches_at_once; ++n) check_afterwards(*benches[n], descriptors[n]);
}

}  // namespace

TEST_CASE("every case comes out as it should, however its bytes are cut") {
  std::vector<WireCase> cases = read_cases(HOLDFAST_WIRE_CASES "/cases.jsonl");
  CHECK(cases.size() == 312);
  for (WireCase& one : read_cases(HOLDFAST_WIRE_CASES "/more_cases.jsonl")) {
    cases.push_back(std::move(one));
  }
  run_everything(cases);
}
