// holdfast_sim: runs seeds of the simulator.
//
//   holdfast_sim --seed N            one seed; prints its history
//   holdfast_sim --seeds FROM COUNT  so many seeds
//   holdfast_sim --find FROM COUNT   so many seeds, up to the first that breaks something
//   holdfast_sim --seconds S         fresh seeds for so long
//
// With --tls before all of that, upstreams are spoken to over TLS.
//
// Exit codes: 0 all is well, 1 an invariant was broken (the seed and what it broke are printed),
// 2 wrong usage. A seed that ends the program (a failed assertion) is printed as well.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string_view>

#include "tests/sim/simulation.h"

namespace {

using namespace holdfast;

constexpr int wrong_usage = 2;

sim::Transport transport = sim::Transport::plain;

/// What died_in() says, made ready before each seed: a signal's handler may do little.
char last_words[64];
std::size_t last_words_size = 0;

extern "C" void died_in(int signal_number) {
  const ssize_t written = write(STDOUT_FILENO, last_words, last_words_size);
  std::signal(signal_number, SIG_DFL);
  std::raise(written < 0 ? SIGKILL : signal_number);
}

sim::Outcome run_seed(std::uint64_t seed) {
  const int size = std::snprintf(last_words, sizeof last_words, "seed %llu: the program died\n",
                                 static_cast<unsigned long long>(seed));
  last_words_size = static_cast<std::size_t>(size);
  return sim::run(seed, transport);
}

bool report(std::uint64_t seed, const sim::Outcome& outcome) {
  for (const std::string& violation : outcome.violations) {
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), violation.c_str());
  }
  std::fflush(stdout);
  return outcome.violations.empty();
}

int run_one(std::uint64_t seed) {
  const sim::Outcome outcome = run_seed(seed);
  std::fwrite(outcome.history.data(), 1, outcome.history.size(), stdout);
  return report(seed, outcome) ? 0 : 1;
}

/// Seeds from `from` on, as long as `goes_on` says.
int run_many(std::uint64_t from,
             const std::function<bool(std::uint64_t done, std::uint64_t failed)>& goes_on) {
  std::uint64_t done = 0;
  std::uint64_t failed = 0;
  std::uint64_t requests = 0;
  const auto began = std::chrono::steady_clock::now();
  for (; goes_on(done, failed); ++done) {
    const sim::Outcome outcome = run_seed(from + done);
    requests += outcome.requests;
    if (!report(from + done, outcome)) ++failed;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%llu seeds from %llu, %llu requests, %.1f s, %llu failed\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(from),
              static_cast<unsigned long long>(requests), took.count(),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}

int run_for(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  const std::uint64_t from = std::random_device()();
  return run_many(from << 20, [&](auto, auto) { return std::chrono::steady_clock::now() < end; });
}

std::uint64_t number(const char* text) {
  return std::strtoull(text, nullptr, 10);
}

}  // namespace

int main(int argc, char** argv) {
  for (const int fatal : {SIGABRT, SIGSEGV}) std::signal(fatal, died_in);
  if (argc > 1 && std::string_view(argv[1]) == "--tls") {
    transport = sim::Transport::tls;
    ++argv;
    --argc;
  }
  const std::string_view option = argc > 1 ? argv[1] : "";
  if (option == "--seed" && argc == 3) return run_one(number(argv[2]));
  if (option == "--seconds" && argc == 3) return run_for(std::strtod(argv[2], nullptr));
  if ((option == "--seeds" || option == "--find") && argc == 4) {
    const std::uint64_t count = number(argv[3]);
    const bool find = option == "--find";
    return run_many(number(argv[2]), [=](std::uint64_t done, std::uint64_t failed) {
      return done < count && !(find && failed > 0);
    });
  }
  std::fprintf(
      stderr, "usage: %s [--tls] --seed N | --seeds FROM COUNT | --find FROM COUNT | --seconds S\n",
      argv[0]);
  return wrong_usage;
}
