// CaptureFile: a file without a name for what is written to a descriptor.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>
#include <memory>
#include <string>

namespace holdfast::testing {

class CaptureFile {
 public:
  CaptureFile() : file_(std::tmpfile(), std::fclose) { REQUIRE(file_); }

  int fd() const { return fileno(file_.get()); }

  /// All that was written so far; writers must be done.
  std::string text() {
    std::rewind(file_.get());
    std::string text;
    for (int c = 0; (c = std::fgetc(file_.get())) != EOF;) text += static_cast<char>(c);
    return text;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace holdfast::testing
