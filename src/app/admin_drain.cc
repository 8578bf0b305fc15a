#include "holdfast/app/admin_drain.h"

#include <nlohmann/json.hpp>

namespace holdfast::app {

Result<DrainTarget, std::string> parse_drain_target(std::string_view body) {
  const nlohmann::json json = nlohmann::json::parse(body, nullptr, false);
  const bool right = json.is_object() && json.size() == 2 && json.contains("upstream") &&
                     json.contains("endpoint") && json["upstream"].is_string() &&
                     json["endpoint"].is_string();
  if (!right) {
    return unexpected(
        std::string(R"(The body is a JSON object with the strings "upstream" and "endpoint".)"));
  }
  return DrainTarget{json["upstream"], json["endpoint"]};
}

}  // namespace holdfast::app
