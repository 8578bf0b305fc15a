#include "holdfast/store/file_place.h"

#include <sys/stat.h>

namespace holdfast::store {

bool FilePlace::is_as_it_was() {
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0) return !known_;
  const bool same = now.st_dev == device_ && now.st_ino == number_ && now.st_size >= size_;
  if (known_ && !same) return false;
  known_ = true;
  device_ = now.st_dev;
  number_ = now.st_ino;
  size_ = now.st_size;
  return true;
}

}  // namespace holdfast::store
