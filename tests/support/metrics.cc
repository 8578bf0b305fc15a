#include "tests/support/metrics.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace holdfast::testing {
namespace {

/// Takes what stands before `mark` from the text, and the mark with it.
std::string take_until(std::string_view& text, char mark) {
  const auto end = text.find(mark);
  if (end == text.npos) throw std::runtime_error("metrics: no mark in " + std::string(text));
  const std::string taken(text.substr(0, end));
  text.remove_prefix(end + 1);
  return taken;
}

Labels take_labels(std::string_view& text) {
  Labels labels;
  while (!text.starts_with('}')) {
    const std::string name = take_until(text, '=');
    take_until(text, '"');
    labels[name] = take_until(text, '"');
    if (text.starts_with(',')) text.remove_prefix(1);
  }
  text.remove_prefix(1);
  return labels;
}

bool includes(const Labels& all, const Labels& some) {
  return std::all_of(some.begin(), some.end(), [&](const auto& label) {
    const auto found = all.find(label.first);
    return found != all.end() && found->second == label.second;
  });
}

}  // namespace

Metrics::Metrics(std::string_view text) {
  while (!text.empty()) {
    const std::string line = take_until(text, '\n');
    if (!line.empty()) parse_line(line);
  }
}

void Metrics::parse_line(std::string_view line) {
  if (line.starts_with("# TYPE ")) {
    line.remove_prefix(7);
    const std::string name = take_until(line, ' ');
    types_[name] = line;
    return;
  }
  if (line.starts_with('#')) return;
  Sample sample;
  const auto mark = line.find_first_of("{ ");
  sample.name = line.substr(0, mark);
  line.remove_prefix(mark + 1);
  if (mark != line.npos && line.data()[-1] == '{') sample.labels = take_labels(line);
  const std::string number(line);
  char* end = nullptr;
  sample.value = std::strtod(number.c_str(), &end);
  if (end == number.c_str()) throw std::runtime_error("metrics: no number in " + number);
  samples_.push_back(std::move(sample));
}

double Metrics::value(std::string_view name, const Labels& labels) const {
  double sum = 0;
  for (const Sample& sample : samples_) {
    if (sample.name == name && includes(sample.labels, labels)) sum += sample.value;
  }
  return sum;
}

bool Metrics::has(std::string_view name, const Labels& labels) const {
  return std::any_of(samples_.begin(), samples_.end(), [&](const Sample& sample) {
    return sample.name == name && includes(sample.labels, labels);
  });
}

std::string Metrics::family_of(const std::string& sample_name) const {
  for (const std::string_view suffix : {"_bucket", "_sum", "_count"}) {
    if (!sample_name.ends_with(suffix)) continue;
    const std::string base = sample_name.substr(0, sample_name.size() - suffix.size());
    if (type(base) == "histogram") return base;
  }
  return sample_name;
}

std::set<std::string> Metrics::families() const {
  std::set<std::string> result;
  for (const Sample& sample : samples_) {
    std::string names;
    for (const auto& [label, value] : sample.labels) {
      if (label == "le") continue;
      names += (names.empty() ? "" : ",") + label;
    }
    result.insert(family_of(sample.name) + "{" + names + "}");
  }
  return result;
}

std::string Metrics::type(std::string_view family) const {
  const auto found = types_.find(family);
  return found == types_.end() ? "" : found->second;
}

std::set<std::string> Metrics::label_values(std::string_view label) const {
  std::set<std::string> values;
  for (const Sample& sample : samples_) {
    const auto found = sample.labels.find(std::string(label));
    if (found != sample.labels.end()) values.insert(found->second);
  }
  return values;
}

}  // namespace holdfast::testing
