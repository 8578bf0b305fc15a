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
#include "holdfast/http/syntax.h"
#include "holdfast/net/address.h"
#include "holdfast/proxy/destination.h"
#include "holdfast/proxy/route.h"

namespace holdfast::app {
namespace {

struct Target {
  std::string authority;
  std::string path = "/";
  std::string scheme = {};  // "" for a path
};

/// What a CONNECT asks for: a host and a port.
std::optional<Target> split_authority(std::string_view text) {
  const std::string_view host = proxy::host_of(text);
  const bool right =
      host.size() < text.size() && net::Endpoint::parse(fmt::format("http://{}", text));
  return right ? std::optional(Target{std::string(text)}) : std::nullopt;
}

std::optional<Target> split_url(std::string_view url) {
  Target target;
  const std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) {
    if (!iequals(url.substr(0, scheme), "http") && !iequals(url.substr(0, scheme), "https")) {
      return std::nullopt;
    }
    target.scheme = to_lower(url.substr(0, scheme));
    url.remove_prefix(scheme + 3);
    const std::size_t end = url.find_first_of("/?");
    target.authority = url.substr(0, end);
    if (!http::is_authority(target.authority)) return std::nullopt;
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

/// The listener that the request would come in at. Only a forward proxy's takes a CONNECT, and its
/// port is another's.
const proxy::ListenerConfig* choose_listener(const proxy::Config& config, const std::string& wanted,
                                             const std::string& authority, bool connect) {
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
  const auto found = connect ? std::ranges::find_if(listeners, &proxy::ListenerConfig::forward)
                             : std::ranges::find_if(listeners, has_port);
  return found != listeners.end() ? &*found : &listeners.front();
}

/// Why the listener refuses the request whatever its routes are; "" if it does not.
std::string_view misdirected(const proxy::ListenerConfig& listener, const Target& target,
                             bool connect) {
  if (connect) return listener.forward ? "" : "405 method-not-allowed: it is no forward proxy";
  if (!listener.forward) return "";
  if (target.scheme == "https") return "400 bad-request: for https a client sends a CONNECT";
  return target.scheme.empty() ? "400 bad-request: a forward proxy is asked with whole URIs" : "";
}

bool goes_where_it_says(const proxy::Config& config, int route) {
  const auto found = config.upstreams.find(config.routes[static_cast<std::size_t>(route)].upstream);
  return found != config.upstreams.end() && found->second.dynamic;
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

/// The request as the proxy would see it.
struct Asked {
  Target target;
  std::string authority;
  bool connect = false;
  http::Fields fields;
  const proxy::ListenerConfig* listener = nullptr;
};

Result<Asked, std::string> read(const proxy::Config& config, const ExplainRequest& request) {
  if (!http::is_token(request.method)) {
    return unexpected(fmt::format("{} is no method", in_quotes(request.method)));
  }
  Asked asked;
  asked.connect = request.method == "CONNECT";
  auto target = asked.connect ? split_authority(request.url) : split_url(request.url);
  if (!target) {
    const std::string_view wanted = asked.connect
                                        ? "no host and port such as \"host:443\""
                                        : "neither a URL such as \"http://host/path\" nor a path";
    return unexpected(fmt::format("{} is {}", in_quotes(request.url), wanted));
  }
  auto fields = parse_headers(request.headers);
  if (!fields) return unexpected(fields.error());
  asked.target = *std::move(target);
  asked.fields = *std::move(fields);
  asked.authority = asked.target.authority.empty()
                        ? std::string(asked.fields.value(http::FieldName::host))
                        : asked.target.authority;
  asked.listener = choose_listener(config, request.listener, asked.authority, asked.connect);
  if (asked.listener == nullptr) {
    return unexpected(fmt::format("there is no listener {}", in_quotes(request.listener)));
  }
  return asked;
}

/// Says which routes do not take it and which one does: its index, or -1.
int tell_match(Printer& printer, const proxy::Config& config, const ExplainRequest& request,
               const Asked& asked) {
  const proxy::RouteTable table(config);
  const proxy::RouteTable::Input input{asked.listener->name, asked.authority,
                                       asked.target.path,    http::method_of(request.method),
                                       request.method,       asked.fields};
  const int taken = table.match(input);
  const std::size_t tried = taken < 0 ? config.routes.size() : static_cast<std::size_t>(taken);
  for (std::size_t i = 0; i < tried; ++i) {
    printer.line(fmt::format("# route {} does not take it: {}", in_quotes(config.routes[i].name),
                             table.mismatch(static_cast<int>(i), input)));
  }
  if (taken >= 0) {
    printer.line(fmt::format("# route {} takes it", in_quotes(config.routes[tried].name)));
  } else if (!asked.connect) {
    printer.line("# no route takes it: 404 no-route");
  }
  return taken;
}

/// Says where it goes, if that is what the request names. The route that holds then, or -1.
int tell_way(Printer& printer, const proxy::Config& config, const Asked& asked, int route) {
  if (!asked.connect && (route < 0 || !goes_where_it_says(config, route))) return route;
  const auto way =
      proxy::way_to(config, asked.listener->name, route, asked.authority, asked.connect);
  if (!way) {
    printer.line("# nothing covers this host and port: 403 destination-not-allowed");
    return -1;
  }
  if (way->route != route) printer.line("# the listener's \"allow\" covers this host and port");
  printer.line(fmt::format("# it goes to {}{}", way->destination.endpoint.text(),
                           way->destination.credentials != nullptr ? " over TLS" : ""));
  return way->route;
}

}  // namespace

Result<std::string, std::string> explain(const LoadedConfig& loaded, const std::string& file,
                                         const ExplainRequest& request) {
  const proxy::Config& config = *loaded.config;
  const auto asked = read(config, request);
  if (!asked) return unexpected(asked.error());
  Printer printer(loaded, file);
  printer.line(fmt::format("# {} {} at listener {}", request.method, request.url,
                           in_quotes(asked->listener->name)));
  const std::string_view refused = misdirected(*asked->listener, asked->target, asked->connect);
  if (!refused.empty()) {
    printer.line(fmt::format("# the listener does not take it: {}", refused));
    return printer.take();
  }
  const int matched = tell_match(printer, config, request, *asked);
  const int taken = tell_way(printer, config, *asked, matched);
  if (taken < 0) return printer.take();
  const auto index = static_cast<std::size_t>(taken);
  const proxy::RouteConfig& route = config.routes[index];
  printer.values(route.name, fmt::format("/route/{}/name", index), "route");
  print_route(printer, effective_config(loaded), index, route.upstream);
  return printer.take();
}

}  // namespace holdfast::app
