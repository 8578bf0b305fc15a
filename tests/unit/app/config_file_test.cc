#include "holdfast/app/config_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace holdfast::app {
namespace {

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "holdfast-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

std::string error_of(const std::string& path, std::size_t max = 10) {
  const auto content = read_regular_file(path, max);
  REQUIRE_FALSE(content.has_value());
  return content.error();
}

}  // namespace

TEST_CASE("only a regular file of bounded size is read, and nothing hangs") {
  const Folder folder;
  REQUIRE(mkfifo(folder.file("fifo").c_str(), 0600) == 0);
  CHECK(error_of(folder.file("fifo")) == "it is a FIFO");
  CHECK(error_of(folder.path()) == "it is a directory");
  CHECK(error_of("/dev/zero") == "it is not a regular file");
  CHECK(error_of(folder.file("missing")) == "No such file or directory");
  CHECK(error_of("") == "No such file or directory");

  std::ofstream(folder.file("long")) << std::string(std::size_t{1} << 20, 'x') << "y";
  CHECK(error_of(folder.file("long"), std::size_t{1} << 20) == "it is larger than 1 MiB");
  CHECK(read_regular_file(folder.file("long"), (std::size_t{1} << 20) + 1)->size() ==
        (std::size_t{1} << 20) + 1);

  std::ofstream(folder.file("short")) << "text\n";
  CHECK(*read_regular_file(folder.file("short"), 5) == "text\n");
  std::ofstream(folder.file("empty"));
  CHECK(read_regular_file(folder.file("empty"), 5)->empty());
}

}  // namespace holdfast::app
