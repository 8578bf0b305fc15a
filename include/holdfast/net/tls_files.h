// TlsFiles: the files that a TLS context was made of, as they were before they were read.
//
// Contract: a file counts as changed if another one has its name (by rename, or by a symbolic link
// on the way there) or if it was written to. One that has gone is a change, too. Blocks: never on a
// loop's thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::net {

/// True if `name` is there and no regular file: to open a FIFO, for one, is to wait for its other
/// end, which may never come.
bool is_special_file(const std::string& name);

class TlsFiles {
 public:
  /// Looks at those of `names` that are not empty. REQUIRES: they are read afterwards.
  explicit TlsFiles(const std::vector<std::string>& names);
  bool changed() const;
  /// True if `name` is one of them and was there.
  bool had(const std::string& name) const;

 private:
  struct Stamp {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;  // 0: there is no such file
    std::int64_t size = 0;
    std::int64_t written = 0;  // nanoseconds
    std::int64_t touched = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const std::string& name);

  std::vector<std::pair<std::string, Stamp>> files_;
};

}  // namespace holdfast::net
