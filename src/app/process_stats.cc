#include "holdfast/app/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace holdfast::app {
namespace {

std::string read_file(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Fields of /proc/self/stat that are used here, numbered as in proc(5).
constexpr int first_field_after_name = 3;
constexpr int start_ticks_field = 22;
constexpr int virtual_bytes_field = 23;
constexpr int resident_pages_field = 24;

struct StatFields {
  std::uint64_t start_ticks = 0;  // since boot
  std::uint64_t virtual_bytes = 0;
  std::uint64_t resident_pages = 0;
};

StatFields read_stat() {
  const std::string text = read_file("/proc/self/stat");
  const std::size_t name_end = text.rfind(')');  // the name may hold anything, parentheses too
  StatFields fields;
  if (name_end == std::string::npos) return fields;

  std::istringstream rest(text.substr(name_end + 1));
  std::string word;
  for (int field = first_field_after_name; rest >> word; ++field) {
    if (field == start_ticks_field) fields.start_ticks = std::stoull(word);
    if (field == virtual_bytes_field) fields.virtual_bytes = std::stoull(word);
    if (field == resident_pages_field) {
      fields.resident_pages = std::stoull(word);
      break;
    }
  }
  return fields;
}

double boot_time_seconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  while (file >> word) {
    double seconds = 0;
    if (word == "btime" && file >> seconds) return seconds;
  }
  return 0;
}

std::uint64_t count_open_fds() {
  std::error_code error;
  std::uint64_t count = 0;
  for (auto entry = std::filesystem::directory_iterator("/proc/self/fd", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    ++count;
  }
  return count == 0 ? 0 : count - 1;  // one of them reads the folder
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

ProcessStats read_process_stats() {
  ProcessStats stats;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    stats.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = limit.rlim_cur;
  stats.open_fds = count_open_fds();

  const StatFields fields = read_stat();
  stats.virtual_bytes = fields.virtual_bytes;
  stats.resident_bytes = fields.resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double since_boot = static_cast<double>(fields.start_ticks) / ticks_per_second;
  if (fields.start_ticks > 0) stats.start_time_seconds = boot_time_seconds() + since_boot;
  return stats;
}

}  // namespace holdfast::app
