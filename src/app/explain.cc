#include "holdfast/app/explain.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "holdfast/app/config_diagnostics.h"
#include "holdfast/app/config_effective.h"
#include "holdfast/base/text.h"
#include "holdfast/http/fields.h"
#include "holdfast/http/method.h"
#include "holdfast/net/address.h"
#include "holdfast/proxy/route.h"

namespace holdfast::app {
namespace {

struct Target {
  std::string authority;
  std::string path = "/";
};

std::optional<Target> split_url(std::string_view url) {
  Target target;
  const std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) {
    if (!iequals(url.substr(0, scheme), "http") && !iequals(url.substr(0, scheme), "https")) {
      return std::nullopt;
    }
    url.remove_prefix(scheme + 3);
    const std::size_t end = url.find_first_of("/?");
    target.authority = url.substr(0, end);
    if (target.authority.empty()) return std::nullopt;
    url = end == std::string_view::npos ? std::string_view() : url.substr(end);
    if (!url.starts_with('/')) return target;
  }
  target.path = url.substr(0, url.find_first_of("?#"));
  if (!target.path.starts_with('/') && target.path != "*") return std::nullopt;
  return target;
}

/// "Name: value" lines as fields, which are views into `lines`.
Result<http::Fields, std::string> parse_headers(const std::vector<std::string>& lines) {
  http::Fields fields;
  for (const std::string& line : lines) {
    const std::size_t colon = line.find(':');
    const std::string_view name = std::string_view(line).substr(0, colon);
    if (colon == std::string::npos || !http::is_token(name)) {
      return unexpected(fmt::format("{} is no header of the form 'Name: value'", in_quotes(line)));
    }
    fields.add(name, trim(std::string_view(line).substr(colon + 1)));
  }
  return fields;
}

/// The listener that the request would come in at.
const proxy::ListenerConfig* choose_listener(const proxy::Config& config, const std::string& wanted,
                                             const std::string& authority) {
  const auto has_port = [&](const proxy::ListenerConfig& listener) {
    return !listener.listen.address.is_unix() &&
           authority.ends_with(fmt::format(":{}", listener.listen.address.port()));
  };
  const auto is_wanted = [&](const proxy::ListenerConfig& listener) {
    return listener.name == wanted;
  };
  const auto& listeners = config.listeners;
  if (!wanted.empty()) {
    const auto found = std::find_if(listeners.begin(), listeners.end(), is_wanted);
    return found != listeners.end() ? &*found : nullptr;
  }
  const auto found = std::find_if(listeners.begin(), listeners.end(), has_port);
  return found != listeners.end() ? &*found : &listeners.front();
}

/// Writes values as `key = value  # FILE:LINE`, or `# default`.
class Printer {
 public:
  Printer(const LoadedConfig& loaded, const std::string& file) : loaded_(loaded), file_(file) {}

  void line(const std::string& text) { out_ += text + "\n"; }

  /// Every value of `json`, which stands at `pointer` and is called `key`.
  void values(const Json& json, const std::string& pointer, const std::string& key) {
    if (json.is_object() && !json.empty()) {
      for (const auto& [name, value] : json.items()) {
        values(value, fmt::format("{}/{}", pointer, pointer_step(name)),
               fmt::format("{}.{}", key, name));
      }
    } else if (json.is_array() && !json.empty() && json.front().is_object()) {
      for (std::size_t i = 0; i < json.size(); ++i) {
        values(json[i], fmt::format("{}/{}", pointer, i), fmt::format("{}[{}]", key, i));
      }
    } else {
      const std::string assignment = fmt::format("{} = {}", key, to_text(json, -1));
      line(fmt::format("{:<56}  # {}", assignment, origin(pointer)));
    }
  }

  std::string origin(const std::string& pointer) const {
    auto found = loaded_.origins.find(pointer);
    // A body that was read from a file was set by the line that names the file.
    if (found == loaded_.origins.end() && pointer.ends_with("/body")) {
      found = loaded_.origins.find(pointer + "_file");
    }
    if (found == loaded_.origins.end()) return "default";
    return fmt::format("{}:{}", file_, found->second.line);
  }

  std::string take() { return std::move(out_); }

 private:
  const LoadedConfig& loaded_;
  const std::string& file_;
  std::string out_;
};

void print_route(Printer& printer, const Json& config, std::size_t index,
                 const std::string& upstream) {
  const Json& route = config["route"][index];
  const std::string pointer = fmt::format("/route/{}", index);
  for (const char* key : {"upstream", "respond", "timeout", "retry", "idempotency"}) {
    if (route.contains(key)) printer.values(route[key], fmt::format("{}/{}", pointer, key), key);
  }
  if (upstream.empty()) return;  // it answers by itself
  const Json& its = config["upstream"][upstream];
  for (const char* key : {"tls", "breaker", "outlier", "health"}) {
    if (!its.contains(key)) continue;
    printer.values(its[key], fmt::format("/upstream/{}/{}", pointer_step(upstream), key), key);
  }
  printer.values(route["fallback"], pointer + "/fallback", "fallback");
}

}  // namespace

Result<std::string, std::string> explain(const LoadedConfig& loaded, const std::string& file,
                                         const ExplainRequest& request) {
  const proxy::Config& config = *loaded.config;
  if (!http::is_token(request.method)) {
    return unexpected(fmt::format("{} is no method", in_quotes(request.method)));
  }
  const auto target = split_url(request.url);
  if (!target) {
    return unexpected(fmt::format("{} is neither a URL such as \"http://host/path\" nor a path",
                                  in_quotes(request.url)));
  }
  const auto fields = parse_headers(request.headers);
  if (!fields) return unexpected(fields.error());
  const std::string authority = target->authority.empty()
                                    ? std::string(fields->value(http::FieldName::host))
                                    : target->authority;
  const proxy::ListenerConfig* listener = choose_listener(config, request.listener, authority);
  if (listener == nullptr) {
    return unexpected(fmt::format("there is no listener {}", in_quotes(request.listener)));
  }

  const proxy::RouteTable table(config);
  const proxy::RouteTable::Input input{listener->name, authority,
                                       target->path,   http::method_of(request.method),
                                       request.method, *fields};
  const int taken = table.match(input);
  const std::size_t tried = taken < 0 ? config.routes.size() : static_cast<std::size_t>(taken);

  Printer printer(loaded, file);
  printer.line(fmt::format("# {} {} at listener {}", request.method, request.url,
                           in_quotes(listener->name)));
  for (std::size_t i = 0; i < tried; ++i) {
    printer.line(fmt::format("# route {} does not take it: {}", in_quotes(config.routes[i].name),
                             table.mismatch(static_cast<int>(i), input)));
  }
  if (taken < 0) {
    printer.line("# no route takes it: 404 no-route");
    return printer.take();
  }
  printer.line(fmt::format("# route {} takes it", in_quotes(config.routes[tried].name)));
  const proxy::RouteConfig& route = config.routes[tried];
  printer.values(route.name, fmt::format("/route/{}/name", tried), "route");
  print_route(printer, effective_config(loaded), tried, route.upstream);
  return printer.take();
}

}  // namespace holdfast::app
