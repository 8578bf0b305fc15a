#include "holdfast/store/file_place.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/store_folder.h"

namespace holdfast::store {
namespace {

TEST_CASE("a file is as it was until it is another, none, or shorter") {
  const test::StoreFolder folder;
  const std::string path = folder.file();
  FilePlace place(path);
  CHECK(place.is_as_it_was());  // there was none
  std::ofstream(path) << "four";
  CHECK(place.is_as_it_was());
  std::ofstream(path, std::ios::app) << " and more";
  CHECK(place.is_as_it_was());
  SUBCASE("shorter") {
    std::filesystem::resize_file(path, 8);
  }
  SUBCASE("none") {
    std::filesystem::remove(path);
  }
  SUBCASE("another") {
    std::ofstream(path + ".new") << "four and more";
    std::filesystem::rename(path + ".new", path);
  }
  CHECK_FALSE(place.is_as_it_was());
  CHECK_FALSE(place.is_as_it_was());
}

}  // namespace
}  // namespace holdfast::store
