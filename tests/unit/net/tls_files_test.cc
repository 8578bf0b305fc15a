#include "holdfast/net/tls_files.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/child_process.h"

namespace holdfast::net {
namespace {

using testing::TemporaryFolder;

TEST_CASE("files that are left alone have not changed") {
  const TemporaryFolder folder;
  const TlsFiles files({folder.write("cert", "1"), "", folder.write("key", "2")});
  CHECK_FALSE(files.changed());
  CHECK_FALSE(TlsFiles({""}).changed());
}

TEST_CASE("a file is changed by a rename, a write, its end and its coming") {
  const TemporaryFolder folder;
  const std::string cert = folder.write("cert", "1");
  const TlsFiles files({cert, folder.path() + "/absent"});
  SUBCASE("another with its name") {
    folder.write("cert", "1");
  }
  SUBCASE("written to") {
    std::ofstream(cert, std::ios::app) << "2";
  }
  SUBCASE("gone") {
    std::filesystem::remove(cert);
  }
  SUBCASE("there now") {
    folder.write("absent", "1");
  }
  CHECK(files.changed());
}

TEST_CASE("a symbolic link on the way that leads elsewhere is a change") {
  const TemporaryFolder folder;
  namespace fs = std::filesystem;
  for (const char* version : {"/v1", "/v2"}) {
    fs::create_directory(folder.path() + version);
    std::ofstream(folder.path() + version + std::string("/cert")) << "same";
  }
  const fs::path link = folder.path() + "/..data";
  fs::create_symlink("v1", link);
  const TlsFiles files({folder.path() + "/..data/cert"});
  CHECK_FALSE(files.changed());
  fs::create_symlink("v2", folder.path() + "/next");
  fs::rename(folder.path() + "/next", link);
  CHECK(files.changed());
}

}  // namespace
}  // namespace holdfast::net
