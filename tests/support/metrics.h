// Metrics: the text of /metrics, parsed.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::testing {

using Labels = std::map<std::string, std::string>;

class Metrics {
 public:
  /// Throws std::runtime_error for a line that is no Prometheus text (format 0.0.4).
  explicit Metrics(std::string_view text);

  /// The sum of the samples of that name that have all these labels; 0 if there is none.
  double value(std::string_view name, const Labels& labels = {}) const;
  bool has(std::string_view name, const Labels& labels = {}) const;
  /// Every family with the names of its labels, as "name{a,b}"; histograms without their suffixes.
  std::set<std::string> families() const;
  /// "counter", "gauge", "histogram"; "" if it is not declared.
  std::string type(std::string_view family) const;
  /// Every value of that label, over all samples.
  std::set<std::string> label_values(std::string_view label) const;

 private:
  struct Sample {
    std::string name;
    Labels labels;
    double value = 0;
  };
  void parse_line(std::string_view line);
  std::string family_of(const std::string& sample_name) const;

  std::vector<Sample> samples_;
  std::map<std::string, std::string, std::less<>> types_;
};

}  // namespace holdfast::testing
