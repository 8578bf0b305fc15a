// docs/wire.md and the cases tell the same: a case that a row names is there and has its status,
// and no status that the cases know is missing.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/wire/wire_case.h"

using namespace holdfast::testing;

namespace {

std::map<std::string, WireCase> cases_by_id() {
  std::map<std::string, WireCase> cases;
  for (const char* file : {"/cases.jsonl", "/more_cases.jsonl"}) {
    for (WireCase& one : read_cases(HOLDFAST_WIRE_CASES + std::string(file))) {
      const std::string id = one.id;
      CHECK_MESSAGE(cases.emplace(id, std::move(one)).second, id << " is there twice");
    }
  }
  return cases;
}

std::vector<std::string> cells_of(const std::string& row) {
  std::vector<std::string> cells;
  std::istringstream line(row.substr(1));
  for (std::string cell; std::getline(line, cell, '|');) cells.push_back(cell);
  return cells;
}

std::vector<std::string> words_of(const std::string& cell) {
  std::istringstream text(cell);
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

}  // namespace

TEST_CASE("docs/wire.md says what the cases say") {
  const std::map<std::string, WireCase> cases = cases_by_id();
  std::ifstream page(HOLDFAST_SOURCE_DIR "/docs/wire.md");
  REQUIRE(page.is_open());
  std::set<int> documented = {404};  // in words
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| ") || line.find("| cases |") != line.npos) continue;
    const std::vector<std::string> cells = cells_of(line);
    const bool refused = cells.size() == 4;
    const int status = refused ? std::stoi(cells[1]) : 0;
    documented.insert(status);
    for (const std::string& id : words_of(cells.back())) {
      CAPTURE(id);
      REQUIRE(cases.contains(id));
      CHECK(cases.at(id).status.value_or(0) == status);
    }
  }
  for (const auto& [id, one] : cases) {
    CAPTURE(id);
    if (one.status) CHECK(documented.contains(*one.status));
  }
}
