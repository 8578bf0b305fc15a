// docs/wire.md and the cases tell the same: a case that a row names is there and has its status,
// no status that the cases know is missing, and a row of an RFC's section is held by something that
// names the section.
#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
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

/// The rows of the page's tables, without their headings. Those of the RFCs begin with a number.
std::vector<std::string> rows_of_page(bool of_rfcs) {
  std::ifstream page(HOLDFAST_SOURCE_DIR "/docs/wire.md");
  REQUIRE(page.is_open());
  std::vector<std::string> rows;
  for (std::string line; std::getline(page, line);) {
    const bool heading =
        line.find("| cases |") != line.npos || line.find("| held by |") != line.npos;
    if (!line.starts_with("| ") || heading) continue;
    if (line.starts_with("| 91") == of_rfcs) rows.push_back(line);
  }
  return rows;
}

/// True if `text` names the section, given as "9112 6.3": "RFC 9110 8.6; RFC 9112 6.1, 6.3" does.
bool names_section(const std::string& text, const std::string& section) {
  const std::string rfc = section.substr(0, 4);
  const std::string number = section.substr(5);
  std::string of;
  for (std::string word : words_of(text)) {
    while (!word.empty() && std::string_view(",;:.)\"").find(word.back()) != std::string_view::npos)
      word.pop_back();
    if (word.starts_with("91") && word.size() == rfc.size()) of = word;
    if (of == rfc && (word == number || word == "§" + number)) return true;
  }
  return false;
}

std::string text_of_test(const std::string& file) {
  std::ifstream test(HOLDFAST_SOURCE_DIR "/tests/" + file);
  REQUIRE_MESSAGE(test.is_open(), file);
  return {std::istreambuf_iterator<char>(test), {}};
}

}  // namespace

TEST_CASE("docs/wire.md says what the cases say") {
  const std::map<std::string, WireCase> cases = cases_by_id();
  std::set<int> documented = {404};  // in words
  for (const std::string& line : rows_of_page(false)) {
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

TEST_CASE("what an RFC requires is held by a test that names the section") {
  const std::map<std::string, WireCase> cases = cases_by_id();
  const std::vector<std::string> rows = rows_of_page(true);
  CHECK(rows.size() > 100);
  for (const std::string& row : rows) {
    CAPTURE(row);
    const std::vector<std::string> cells = cells_of(row);
    REQUIRE(cells.size() == 3);
    const std::string section = cells[0].substr(1, cells[0].size() - 2);
    bool named = false;
    for (const std::string& holder : words_of(cells[2])) {
      CAPTURE(holder);
      if (holder.ends_with("_test.cc")) {
        CHECK(names_section(text_of_test(holder), section));
        named = true;
        continue;
      }
      REQUIRE(cases.contains(holder));
      named = named || names_section(cases.at(holder).source, section);
    }
    CHECK(named);
  }
}
