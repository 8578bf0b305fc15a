#include "holdfast/net/tls_files.h"

#include <sys/stat.h>

#include <algorithm>

namespace holdfast::net {
namespace {

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

bool is_special_file(const std::string& name) {
  struct stat found {};
  return ::stat(name.c_str(), &found) == 0 && !S_ISREG(found.st_mode);
}

TlsFiles::TlsFiles(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!name.empty()) files_.emplace_back(name, stamp_of(name));
  }
}

bool TlsFiles::changed() const {
  return std::ranges::any_of(files_,
                             [](const auto& file) { return stamp_of(file.first) != file.second; });
}

bool TlsFiles::had(const std::string& name) const {
  return std::ranges::any_of(
      files_, [&](const auto& file) { return file.first == name && file.second != Stamp{}; });
}

TlsFiles::Stamp TlsFiles::stamp_of(const std::string& name) {
  struct stat found {};
  if (::stat(name.c_str(), &found) != 0) return {};
  return {found.st_dev, found.st_ino, found.st_size, nanoseconds(found.st_mtim),
          nanoseconds(found.st_ctim)};
}

}  // namespace holdfast::net
