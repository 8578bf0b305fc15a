#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "tests/tidy/rules.h"

namespace holdfast::tidy {
namespace {

struct Layer {
  std::string_view name;
  std::vector<std::string_view> may_include;  // beside itself
};

const std::vector<Layer>& layers() {
  static const std::vector<Layer> all{
      {"base", {}},
      {"policy", {"base"}},
      {"http", {"base"}},
      {"runtime", {"base"}},
      {"net", {"runtime", "base"}},
      {"store", {"net", "runtime", "policy", "http", "base"}},
      {"proxy", {"store", "net", "runtime", "policy", "http", "base"}},
      {"app", {"proxy", "store", "net", "runtime", "policy", "http", "base"}},
  };
  return all;
}

/// A path of src/ or include/holdfast/ without that beginning: "net/address.cc"; else "".
std::string_view path_in_layers(std::string_view path) {
  for (const std::string_view root : {"src/", "include/holdfast/"}) {
    if (path.starts_with(root)) return path.substr(root.size());
  }
  return {};
}

const Layer* layer_of(std::string_view path) {
  const std::string_view inner = path_in_layers(path);
  const std::string_view name = inner.substr(0, inner.find('/'));
  const auto found = std::ranges::find(layers(), name, &Layer::name);
  return found == layers().end() ? nullptr : &*found;
}

struct Include {
  std::size_t position;
  bool quoted;
  std::string_view name;
};

std::vector<Include> includes_of(const Source& source) {
  constexpr std::string_view directive = "#include";
  std::vector<Include> includes;
  for (const std::string_view line : lines_of(source.text)) {
    if (!line.starts_with(directive)) continue;
    const std::string_view operand = trimmed(line.substr(directive.size()));
    const std::size_t end = operand.find_first_of(">\"", 1);
    if (operand.empty() || end == std::string_view::npos) continue;
    const auto position = static_cast<std::size_t>(line.data() - source.text.data());
    includes.push_back({position, operand[0] == '"', operand.substr(1, end - 1)});
  }
  return includes;
}

struct Door {
  std::string_view header;           // the beginning of its name
  std::vector<std::string_view> at;  // the beginnings of paths within the layers
};

const std::vector<Door>& doors() {
  static const std::vector<Door> all{
      {"uv.h", {"runtime/event_loop", "runtime/timer", "net/uv_"}},
      {"llhttp.h", {"http/parser"}},
      {"openssl/", {"net/tls", "base/digest"}},
      {"hiredis/", {"store/redis_"}},
      {"sqlite3.h", {"store/sqlite_"}},
      {"toml++/", {"app/config_"}},
      {"re2/", {"proxy/route"}},
      {"prometheus/", {"app/metrics"}},
      {"CLI/", {"app/main"}},
      {"nlohmann/", {"app/"}},
      {"fmt/", {"base/log", "app/"}},
      {"spdlog/", {"base/log", "app/"}},
  };
  return all;
}

bool begins_with_one_of(std::string_view path, const std::vector<std::string_view>& beginnings) {
  return std::ranges::any_of(beginnings,
                             [&](std::string_view each) { return path.starts_with(each); });
}

void find_forbidden_words(const Source& source, std::initializer_list<std::string_view> words,
                          std::string_view message, Findings& findings) {
  for (const std::string_view word : words) {
    for (const std::size_t at : find_word(source.code, word)) {
      findings.push_back(finding(source, at, std::string(word) + ": " + std::string(message)));
    }
  }
}

/// `time(…)` of C; a member or a variable may well be called time.
void find_c_time(const Source& source, Findings& findings) {
  for (const std::size_t at : find_word(source.code, "time")) {
    const std::string_view before = std::string_view(source.code).substr(0, at);
    const std::string_view after = std::string_view(source.code).substr(at + 4);
    const bool qualified = before.ends_with("std::") || before.ends_with(" ::");
    const bool called_bare = after.starts_with("(nullptr)") || after.starts_with("(NULL)") ||
                             after.starts_with("(0)") || after.starts_with("(&");
    const bool member = before.ends_with(".") || before.ends_with(">");
    if (after.starts_with("(") && (qualified || (called_bare && !member))) {
      findings.push_back(finding(source, at, "time(): the clock is read through base/clock"));
    }
  }
}

}  // namespace

Findings check_layers(const Source& source) {
  Findings findings;
  const Layer* layer = layer_of(source.path);
  if (layer == nullptr) return findings;
  for (const Include& include : includes_of(source)) {
    if (!include.quoted) continue;
    constexpr std::string_view root = "holdfast/";
    const bool generated = include.name == "holdfast_version.h" && layer->name == "app";
    if (generated) continue;
    if (!include.name.starts_with(root)) {
      findings.push_back(
          finding(source, include.position, "own headers are included as \"holdfast/LAYER/x.h\""));
      continue;
    }
    std::string_view target = include.name.substr(root.size());
    target = target.substr(0, target.find('/'));
    if (target != layer->name && std::ranges::count(layer->may_include, target) == 0) {
      findings.push_back(
          finding(source, include.position,
                  std::string(layer->name) + " may not include " + std::string(target)));
    }
  }
  return findings;
}

Findings check_doors(const Source& source) {
  Findings findings;
  const std::string_view path = path_in_layers(source.path);
  if (path.empty()) return findings;
  for (const Include& include : includes_of(source)) {
    for (const Door& door : doors()) {
      if (!include.name.starts_with(door.header) || begins_with_one_of(path, door.at)) continue;
      findings.push_back(finding(source, include.position,
                                 "<" + std::string(include.name) +
                                     "> has its door elsewhere: " + std::string(door.at.front())));
    }
  }
  return findings;
}

Findings check_clock_and_chance(const Source& source) {
  Findings findings;
  const std::string_view path = path_in_layers(source.path);
  if (path.empty()) return findings;
  if (!path.starts_with("base/clock")) {
    constexpr std::string_view message = "the clock is read through base/clock";
    find_forbidden_words(source,
                         {"steady_clock::now", "system_clock::now", "high_resolution_clock",
                          "clock_gettime", "gettimeofday", "uv_hrtime"},
                         message, findings);
    if (!path.starts_with("runtime/event_loop")) {
      find_forbidden_words(source, {"uv_now"}, message, findings);
    }
    find_c_time(source, findings);
  }
  if (!path.starts_with("base/rng")) {
    find_forbidden_words(
        source,
        {"random_device", "mt19937", "mt19937_64", "minstd_rand", "default_random_engine", "rand",
         "srand", "drand48", "random", "getrandom", "getentropy", "RAND_bytes"},
        "chance comes from base/rng", findings);
  }
  return findings;
}

}  // namespace holdfast::tidy
