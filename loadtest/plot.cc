#include "loadtest/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace loadtest {
namespace {

constexpr double width = 720, height = 400;
constexpr double left = 70, right = 20, top = 40, bottom = 40;
constexpr int steps_for_a_nine = 50;
constexpr int lines_upwards = 5;

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  std::array<char, 256> text;
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    if (c == '<' || c == '>' || c == '&') {
      safe += formatted("&#%d;", static_cast<int>(c));
    } else {
      safe += c;
    }
  }
  return safe;
}

/// Where things stand: `nines` 2 is the 99th percentile.
struct Scale {
  double most_nines;
  double most_milliseconds;

  double x(double nines) const { return left + (width - left - right) * nines / most_nines; }
  double y(double milliseconds) const {
    return height - bottom - (height - top - bottom) * milliseconds / most_milliseconds;
  }
};

std::string label(double x, double y, const char* anchor, const std::string& text) {
  return formatted("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor) + text +
         "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2) {
  return formatted("<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#ddd\"/>\n", x1, y1, x2, y2);
}

std::string grid(const Scale& scale) {
  std::string svg;
  for (int nines = 0; nines <= static_cast<int>(scale.most_nines); ++nines) {
    const double x = scale.x(nines);
    const int decimals = std::max(nines - 2, 0);
    svg += line(x, top, x, height - bottom);
    svg += label(x, height - bottom + 18, "middle",
                 formatted("%.*f %%", decimals, 100 * (1 - std::pow(10, -nines))));
  }
  for (int i = 0; i <= lines_upwards; ++i) {
    const double milliseconds = scale.most_milliseconds * i / lines_upwards;
    const double y = scale.y(milliseconds);
    svg += line(left, y, width - right, y);
    svg += label(left - 6, y + 4, "end", formatted("%.3g ms", milliseconds));
  }
  return svg;
}

std::string curve(const Scale& scale, const Histogram& latency) {
  std::string path;
  const int steps = static_cast<int>(scale.most_nines * steps_for_a_nine);
  for (int i = 0; i <= steps; ++i) {
    const double nines = static_cast<double>(i) / steps_for_a_nine;
    const double milliseconds = static_cast<double>(latency.at(1 - std::pow(10, -nines))) / 1000;
    path +=
        formatted("%c%.1f %.1f", path.empty() ? 'M' : 'L', scale.x(nines), scale.y(milliseconds));
  }
  return "<path d=\"" + path + "\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"/>\n";
}

}  // namespace

std::string plot_of(const Histogram& latency, std::string_view title) {
  // The last percentile that is more than one single value.
  const double nines = std::log10(static_cast<double>(latency.count()));
  const double most = static_cast<double>(std::max<std::uint64_t>(latency.greatest(), 1)) / 1000;
  const Scale scale{std::max(nines, 1.0), most};
  return formatted(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
             "font-family=\"sans-serif\" font-size=\"12\">\n",
             width, height) +
         "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" +
         label(left, top - 16, "start", escaped(title)) + grid(scale) + curve(scale, latency) +
         "</svg>\n";
}

}  // namespace loadtest
