#include <algorithm>
#include <array>
#include <string_view>

#include "tests/tidy/rules.h"

namespace holdfast::tidy {
namespace {

constexpr std::size_t max_columns = 100;
constexpr std::size_t max_lines = 600;
constexpr std::size_t max_test_lines = 800;  // tables and enumerations are long

struct Exception {
  std::string_view module;  // LAYER/x
  std::string_view reason;
};

constexpr std::string_view values = "plain values and interfaces: nothing is done there";
constexpr std::string_view templates = "templates";
constexpr std::string_view whole_program = "tests/integration drives it in the real binary";
constexpr std::string_view part_of_loader = "tested by what reads whole files: config_loader";

constexpr std::array without_source{
    Exception{"app/metric_cells", templates},
    Exception{"base/result", templates},
    Exception{"base/time", values},
    Exception{"http/message", values},
    Exception{"net/network", values},
    Exception{"policy/idempotency_options", values},
    Exception{"policy/rolling_window", templates},
    Exception{"proxy/config", values},
    Exception{"proxy/observer", values},
    Exception{"runtime/context", values},
};
constexpr std::array without_header{
    Exception{"app/main", "the program"},
    Exception{"proxy/exchange_answer", "the second half of proxy/exchange"},
    Exception{"proxy/exchange_keyed", "the stages of proxy/exchange behind a key"},
};
constexpr std::array without_test{
    Exception{"app/admin", whole_program},
    Exception{"app/config_policies", part_of_loader},
    Exception{"app/config_routes", part_of_loader},
    Exception{"app/config_schema", part_of_loader},
    Exception{"app/config_sections", part_of_loader},
    Exception{"app/machine", whole_program},
    Exception{"app/ready", whole_program},
    Exception{"app/server", whole_program},
    Exception{"app/worker", whole_program},
    Exception{"base/time", values},
    Exception{"http/message", values},
    Exception{"net/network", values},
    Exception{"policy/idempotency_options", values},
    Exception{"proxy/attempt", "tests of proxy/exchange are tests of its attempts"},
    Exception{"proxy/config", values},
    Exception{"proxy/observer", values},
    Exception{"runtime/context", values},
};

template <std::size_t size>
bool excepted(const std::array<Exception, size>& list, std::string_view module) {
  return std::ranges::find(list, module, &Exception::module) != list.end();
}

/// LAYER/x of a path that begins and ends as given; else "".
std::string module_of(std::string_view path, std::string_view beginning, std::string_view ending) {
  if (!path.starts_with(beginning) || !path.ends_with(ending)) return "";
  path.remove_prefix(beginning.size());
  path.remove_suffix(ending.size());
  return std::string(path);
}

/// A module may have a second test: parser_corpus_test.cc is a test of parser.
std::string shortened(const std::string& module) {
  return module.substr(0, module.rfind('_'));
}

/// Characters rather than bytes: what is not ASCII is one column wide.
std::size_t columns_of(std::string_view line) {
  return static_cast<std::size_t>(std::ranges::count_if(
      line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

Findings check_marks(const Source& source) {
  Findings findings;
  // In two halves, or this file would be its own first finding.
  for (const std::string_view mark : {"TO"
                                      "DO",
                                      "FIX"
                                      "ME",
                                      "XX"
                                      "X",
                                      "HA"
                                      "CK"}) {
    for (const std::size_t at : find_word(source.text, mark)) {
      findings.push_back(finding(source, at, "a mark of work left: do it, or make it an issue"));
    }
  }
  return findings;
}

Findings check_size(const Source& source) {
  Findings findings;
  const auto lines = lines_of(source.text);
  for (const std::string_view line : lines) {
    const auto at = static_cast<std::size_t>(line.data() - source.text.data());
    if (columns_of(line) > max_columns) findings.push_back(finding(source, at, "over 100 columns"));
    if (line.ends_with(' ')) findings.push_back(finding(source, at, "a space at the line's end"));
    if (line.find('\t') != std::string_view::npos) findings.push_back(finding(source, at, "a tab"));
  }
  if (lines.size() > (source.path.starts_with("tests/") ? max_test_lines : max_lines)) {
    findings.push_back(finding(source, source.text.size(), "too long: two things in one file"));
  }
  return findings;
}

Findings check_header_opening(const Source& source) {
  Findings findings;
  if (!source.path.ends_with(".h")) return findings;
  if (!source.text.starts_with("// ")) {
    findings.push_back(finding(source, 0, "a header opens with what it is and its contract"));
  }
  if (source.text.find("\n#pragma once\n") == std::string::npos) {
    findings.push_back(finding(source, 0, "a header has #pragma once"));
  }
  return findings;
}

Findings check_mirrored_trees(const std::vector<std::string>& paths) {
  Findings findings;
  const auto exists = [&](const std::string& path) { return std::ranges::count(paths, path) != 0; };
  const auto has_header = [&](const std::string& module) {
    return exists("include/holdfast/" + module + ".h");
  };
  for (const std::string& path : paths) {
    const std::string of_header = module_of(path, "include/holdfast/", ".h");
    const std::string of_source = module_of(path, "src/", ".cc");
    const std::string of_test = module_of(path, "tests/unit/", "_test.cc");
    if (!of_header.empty() && !excepted(without_source, of_header) &&
        !exists("src/" + of_header + ".cc")) {
      findings.push_back(path + ": no src/" + of_header + ".cc");
    }
    if (!of_header.empty() && !excepted(without_test, of_header) &&
        !exists("tests/unit/" + of_header + "_test.cc")) {
      findings.push_back(path + ": no tests/unit/" + of_header + "_test.cc");
    }
    if (!of_source.empty() && !excepted(without_header, of_source) && !has_header(of_source)) {
      findings.push_back(path + ": no include/holdfast/" + of_source + ".h");
    }
    if (!of_test.empty() && !has_header(of_test) && !has_header(shortened(of_test))) {
      findings.push_back(path + ": no include/holdfast/" + of_test + ".h");
    }
  }
  return findings;
}

}  // namespace holdfast::tidy
