// FilePlace: a file that is written to, as it is found at its path. Who has a file open goes on
// with it after somebody has removed or replaced it, and what is written then is gone with the
// process.
//
// Contract: for one thread, and for a file that only grows while it is open.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

namespace holdfast::store {

class FilePlace {
 public:
  explicit FilePlace(std::string path) : path_(std::move(path)) {}

  /// False if there is another file now than at the last look, none, or a shorter one. Until there
  /// is one for the first time, none is as it was.
  bool is_as_it_was();
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
  bool known_ = false;
  dev_t device_ = 0;
  ino_t number_ = 0;
  off_t size_ = 0;
};

}  // namespace holdfast::store
