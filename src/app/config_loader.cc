#include "holdfast/app/config_loader.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "holdfast/app/config_diagnostics.h"
#include "holdfast/app/config_file.h"
#include "holdfast/app/config_headers.h"
#include "holdfast/app/config_idempotency.h"
#include "holdfast/app/config_policies.h"
#include "holdfast/app/config_reader.h"
#include "holdfast/app/config_routes.h"
#include "holdfast/app/config_schema.h"
#include "holdfast/app/config_sections.h"
#include "holdfast/app/config_store.h"
#include "holdfast/app/config_tree.h"
#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"
#include "holdfast/proxy/route.h"

namespace holdfast::app {
namespace {

void expand_strings(Node& node, const Environment& environment, Diagnostics& diagnostics) {
  for (Node& item : node.items) expand_strings(item, environment, diagnostics);
  for (Entry& entry : node.entries) expand_strings(entry.value, environment, diagnostics);
  if (node.kind != Node::Kind::text) return;
  auto expanded = expand(node.text, environment);
  if (!expanded) {
    diagnostics.error(node.place, expanded.error());
    node.kind = Node::Kind::broken;
    return;
  }
  node.text = std::move(expanded->text);
  node.from_environment = expanded->from_environment;
}

void collect_origins(const Node& node, std::uint32_t line, const std::string& pointer,
                     Origins& origins) {
  for (const Entry& entry : node.entries) {
    collect_origins(entry.value, entry.place.line, pointer + "/" + pointer_step(entry.key),
                    origins);
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const Node& item = node.items[i];
    collect_origins(item, item.place.line, fmt::format("{}/{}", pointer, i), origins);
  }
  if (node.kind != Node::Kind::table) origins[pointer] = {line, node.from_environment};
}

/// The table under `key`, or nullptr: for a tree that has been checked.
const Node* child(const Node* table, std::string_view key) {
  if (table == nullptr) return nullptr;
  const Entry* entry = table->find(key);
  return entry != nullptr ? &entry->value : nullptr;
}

/// `table` with its policy tables only.
Node policies_of(const Node* table) {
  Node policies;
  if (table == nullptr) return policies;
  policies.place = table->place;
  for (const Entry& entry : table->entries) {
    const auto* found = std::find(std::begin(policy_tables), std::end(policy_tables), entry.key);
    if (found != std::end(policy_tables)) policies.entries.push_back(entry);
  }
  return policies;
}

/// Loads one document. The steps run in the order in which they stand.
class Loader {
 public:
  Loader(const std::string& path, const Node& root, Diagnostics& diagnostics,
         const proxy::Config* in_use)
      : root_(root), diagnostics_(diagnostics), config_(std::make_shared<proxy::Config>()) {
    context_.folder = std::filesystem::path(path).parent_path();
    context_.tls = TlsContexts(in_use);
  }

  /// REQUIRES: the result is used only if the diagnostics have no errors.
  LoadedConfig load() {
    read_root();
    check_underscores(root_, config_->server.underscore_headers, diagnostics_);
    check_merged_policies();
    check_forward();
    if (!diagnostics_.has_errors()) {
      warn();
      resolve();
    }
    return {std::move(config_), std::move(origins_), {}};
  }

 private:
  void read_root() {
    collect_upstream_names();
    Reader root(diagnostics_, root_, "");
    root.table("server", [&](Reader& keys) { server_keys(keys, config_->server); });
    root.table("log", [&](Reader& keys) { log_keys(keys, config_->log); });
    read_admin_table(root);
    read_listeners(root);
    root.table("store", [&](Reader& keys) { read_store(keys, config_->store, context_.folder); });
    resolve_store_path(config_->store, context_.folder);
    root.table("defaults", [&](Reader& keys) {
      Policies policies;
      read_policies(keys, policies, context_);
    });
    root.named_tables("upstream", [&](const Entry& entry, Reader& keys) {
      if (!is_name(entry.key)) {
        keys.error(entry.place, fmt::format("an upstream needs {}, not {}", name_rule.what,
                                            in_quotes(entry.key)));
      }
      config_->upstreams.emplace(entry.key, read_upstream(keys, entry.key, context_));
    });
    read_routes(root);
    root.finish();
    // A file that an editor has just truncated must not replace a good configuration.
    if (root_.entries.empty()) diagnostics_.error(root_.place, "the file is empty");
  }

  /// Before anything that may refer to them.
  void collect_upstream_names() {
    const Node* upstreams = child(&root_, "upstream");
    if (upstreams == nullptr) return;
    for (const Entry& entry : upstreams->entries) context_.upstreams.insert(entry.key);
  }

  void read_admin_table(Reader& root) {
    const Node no_table;
    if (!root.has("admin")) {
      Reader keys(diagnostics_, no_table, "admin");
      read_admin(keys, config_->admin);
    }
    root.table("admin", [&](Reader& keys) { read_admin(keys, config_->admin); });
    if (const auto& listen = config_->admin.listen) {
      claim_address(*listen, "the admin listener", place_of_listen(child(&root_, "admin")));
    }
  }

  void read_listeners(Reader& root) {
    if (!root.has("listener")) {
      const Node no_table;
      Reader keys(diagnostics_, no_table, "listener", true);
      add_listener(keys);
    }
    root.tables("listener", [&](Reader& keys) { add_listener(keys); });
  }

  void add_listener(Reader& keys) {
    proxy::ListenerConfig listener = read_listener(keys, config_->listeners.size() + 1, context_);
    const Place place = place_of_name(keys.node());
    if (!context_.listeners.insert(listener.name).second) {
      diagnostics_.error(place,
                         fmt::format("there are two listeners {}", in_quotes(listener.name)));
    }
    claim_address(listener.listen, "listener " + in_quotes(listener.name),
                  place_of_listen(&keys.node()));
    config_->listeners.push_back(std::move(listener));
  }

  /// Two sockets cannot listen at one address; port 0 is another port each time.
  void claim_address(const net::ListenAddress& listen, const std::string& owner, Place place) {
    if (!listen.address.is_unix() && listen.address.port() == 0) return;  // or no address at all
    const auto [at, is_new] = addresses_.emplace(listen.address.text(), owner);
    if (is_new) return;
    diagnostics_.error(place, fmt::format("{} listens where {} does", owner, at->second));
  }

  void read_routes(Reader& root) {
    std::map<std::string, std::uint32_t, std::less<>> lines;
    root.tables("route", [&](Reader& keys) {
      proxy::RouteConfig route = read_route(keys, config_->routes.size() + 1, context_);
      const Place place = place_of_name(keys.node());
      const auto [at, is_new] = lines.emplace(route.name, place.line);
      if (!is_new) {
        diagnostics_.error(place, fmt::format("there are two routes {}, the first in line {}",
                                              in_quotes(route.name), at->second));
      } else if (route.name == "none") {
        diagnostics_.error(place,
                           R"(a route cannot be called "none": metrics say so where none matched)");
      }
      config_->routes.push_back(std::move(route));
    });
  }

  /// Rules between keys of different levels: whatever else is wrong with the file.
  void check_merged_policies() {
    const Node defaults = policies_of(child(&root_, "defaults"));
    for (const proxy::ListenerConfig& listener : config_->listeners) {
      Node name;
      name.text = listener.name;
      if (!listener.allow.empty()) check_certificate_scope(&name, child(&defaults, "idempotency"));
    }
    const Node* routes = child(&root_, "route");
    if (routes == nullptr) return;
    for (const Node& route : routes->items) {
      if (child(&route, "respond") != nullptr) continue;
      const Node merged = merge(inherited_by(route), policies_of(&route));
      check_idempotency(merged, diagnostics_);
      check_certificate_scope(child(child(&route, "match"), "listener"),
                              child(&merged, "idempotency"));
    }
  }

  /// Who is told apart by certificates must have one, wherever the route can be reached. `only`:
  /// the name of its listener, or nullptr.
  void check_certificate_scope(const Node* only, const Node* idempotency) {
    const Node* enabled = child(idempotency, "enabled");
    const Node* scope = child(idempotency, "scope");
    if (enabled == nullptr || !enabled->boolean || scope == nullptr) return;
    const auto source = std::ranges::find(scope->items, "client_cert", &Node::text);
    if (source == scope->items.end()) return;
    for (const proxy::ListenerConfig& listener : config_->listeners) {
      if (listener.asks_for_certificates()) continue;
      if (only != nullptr && only->text != listener.name) continue;
      diagnostics_.error(source->place,
                         fmt::format(R"(scope "client_cert" needs a "client_ca" in the "tls" of )"
                                     "listener {}, where the route can be reached",
                                     in_quotes(listener.name)));
      return;
    }
  }

  /// The policies of [defaults] and of the route's upstream, if it has one.
  Node inherited_by(const Node& route) const {
    const Node* name = child(&route, "upstream");
    const Node* upstream = name != nullptr ? child(child(&root_, "upstream"), name->text) : nullptr;
    return merge(policies_of(child(&root_, "defaults")), policies_of(upstream));
  }

  /// Where a request may come in at another than a forward proxy's listener, nothing says where it
  /// shall go.
  void check_forward() {
    for (const proxy::ListenerConfig& listener : config_->listeners) {
      if (listener.allow.empty()) continue;
      check_allow_name(allow_name(listener));
      check_fallbacks(policies_of(child(&root_, "defaults")));
    }
    for (std::size_t i = 0; i < config_->routes.size(); ++i) {
      const proxy::RouteConfig& route = config_->routes[i];
      check_dynamic_weights(route.upstream);
      check_fallbacks(merge(inherited_by(route_node(i)), policies_of(&route_node(i))));
      if (is_dynamic(route.upstream)) check_comes_from_forward(route, route_node(i).place);
    }
  }

  /// Of the route and of what it inherits: an array is taken whole, so one of them holds.
  void check_fallbacks(const Node& merged) {
    const Node* fallbacks = child(&merged, "fallback");
    if (fallbacks == nullptr) return;
    for (const Node& fallback : fallbacks->items) {
      const Node* upstream = child(&fallback, "upstream");
      if (upstream == nullptr || !is_dynamic(upstream->text)) continue;
      diagnostics_.error(upstream->place,
                         fmt::format("upstream {} has a wildcard endpoint: it is no fallback",
                                     in_quotes(upstream->text)));
    }
  }

  bool is_dynamic(const std::string& upstream) const {
    const auto found = config_->upstreams.find(upstream);
    return found != config_->upstreams.end() && found->second.dynamic;
  }

  void check_dynamic_weights(const std::string& upstream) {
    if (!is_dynamic(upstream)) return;
    if (!config_->upstreams.at(upstream).health.path.empty()) {
      diagnostics_.error(place_of_upstream(upstream),
                         fmt::format("upstream {} has a wildcard endpoint: there is nothing that "
                                     "\"health\" could check",
                                     in_quotes(upstream)));
    }
    for (const proxy::EndpointConfig& endpoint : config_->upstreams.at(upstream).endpoints) {
      const bool fixed = endpoint.endpoint.scheme == net::Endpoint::Scheme::unix_socket;
      if (endpoint.weight == 1 && !fixed) continue;
      diagnostics_.error(place_of_upstream(upstream),
                         fmt::format("upstream {} has a wildcard endpoint: each request names its "
                                     "own, so that {} makes no sense",
                                     in_quotes(upstream), fixed ? "a unix socket" : "a weight"));
    }
  }

  void check_comes_from_forward(const proxy::RouteConfig& route, Place place) {
    for (const proxy::ListenerConfig& listener : config_->listeners) {
      const bool comes = route.match.listener.empty() || route.match.listener == listener.name;
      if (!comes || listener.forward) continue;
      diagnostics_.error(
          place, fmt::format("upstream {} has a wildcard endpoint, but listener {} is not in "
                             "forward mode; name one that is in the route's \"match\"",
                             in_quotes(route.upstream), in_quotes(listener.name)));
    }
  }

  static std::string allow_name(const proxy::ListenerConfig& listener) {
    return "allow:" + listener.name;
  }

  void check_allow_name(const std::string& name) {
    const bool taken = config_->upstreams.contains(name) ||
                       std::ranges::any_of(config_->routes, [&](const proxy::RouteConfig& route) {
                         return route.name == name;
                       });
    if (!taken) return;
    diagnostics_.error(
        root_.place,
        fmt::format("{} is what the listener's \"allow\" is called in metrics", in_quotes(name)));
  }

  /// What only `allow` names goes, with the policies of [defaults], by a route and an upstream that
  /// bear the listener's name.
  void add_allowed(const proxy::ListenerConfig& listener) {
    const std::string name = allow_name(listener);
    proxy::UpstreamConfig upstream;
    upstream.name = name;
    upstream.dynamic = true;
    for (const std::string& authority : listener.allow) add_allowed(listener, authority, upstream);
    config_->upstreams.emplace(name, std::move(upstream));
  }

  void add_allowed(const proxy::ListenerConfig& listener, const std::string& authority,
                   proxy::UpstreamConfig& upstream) {
    // Without a port: that of http, and for CONNECT that of https.
    const bool has_port = authority.rfind(':') != std::string::npos && !authority.ends_with(']');
    for (const std::string_view port : {"", ":443"}) {
      if (has_port && !port.empty()) continue;
      const std::string url = fmt::format("http://{}{}", authority, port);
      upstream.endpoints.push_back({*net::Endpoint::parse_pattern(url), url, 1});
    }
    proxy::RouteConfig route;
    route.name = route.upstream = allow_name(listener);
    route.match.listener = listener.name;
    route.match.host = to_lower(proxy::host_of(authority));
    const Node defaults = policies_of(child(&root_, "defaults"));
    apply(defaults, route);
    const std::string pointer = fmt::format("/route/{}", config_->routes.size());
    collect_origins(defaults, defaults.place.line, pointer, origins_);
    config_->routes.push_back(std::move(route));
  }

  Place place_of_upstream(const std::string& name) const {
    const Node* node = child(child(&root_, "upstream"), name);
    return node != nullptr ? node->place : root_.place;
  }

  static Place place_of_name(const Node& table) {
    const Node* name = child(&table, "name");
    return name != nullptr ? name->place : table.place;
  }

  Place place_of_listen(const Node* table) const {
    const Node* listen = child(table, "listen");
    if (listen != nullptr) return listen->place;
    return table != nullptr && table->place.line > 0 ? table->place : root_.place;
  }

  void warn() {
    const bool allowed = std::ranges::any_of(
        config_->listeners, [](const auto& listener) { return !listener.allow.empty(); });
    if (config_->routes.empty() && !allowed) {
      diagnostics_.warning(root_.place, "there is no [[route]]: every request gets 404");
    }
    warn_of_unreachable_routes();
    warn_of_unused_upstreams();
  }

  void warn_of_unreachable_routes() {
    const proxy::RouteConfig* catch_all = nullptr;
    for (std::size_t i = 0; i < config_->routes.size(); ++i) {
      const proxy::RouteConfig& route = config_->routes[i];
      if (catch_all != nullptr) {
        diagnostics_.warning(route_node(i).place,
                             fmt::format("route {} is never reached: {} matches everything",
                                         in_quotes(route.name), in_quotes(catch_all->name)));
      } else if (matches_everything(route.match)) {
        catch_all = &route;
      }
    }
  }

  static bool matches_everything(const proxy::MatchConfig& match) {
    return match.listener.empty() && match.host.empty() && match.methods.empty() &&
           match.headers.empty() && match.path_kind == proxy::MatchConfig::PathKind::any;
  }

  void warn_of_unused_upstreams() {
    const Node* upstreams = child(&root_, "upstream");
    if (upstreams == nullptr) return;
    for (const Entry& entry : upstreams->entries) {
      if (context_.used_upstreams.contains(entry.key)) continue;
      diagnostics_.warning(entry.place,
                           fmt::format("no route uses upstream {}", in_quotes(entry.key)));
    }
  }

  const Node& route_node(std::size_t index) const { return child(&root_, "route")->items[index]; }

  /// Gives every route its effective policies and notes where each value was set. The levels have
  /// been checked one by one, so their merger has no errors.
  void resolve() {
    for (const std::string_view section :
         {"server", "log", "admin", "listener", "store", "upstream"}) {
      const Node* node = child(&root_, section);
      if (node != nullptr)
        collect_origins(*node, node->place.line, fmt::format("/{}", section), origins_);
    }
    for (std::size_t i = 0; i < config_->routes.size(); ++i) {
      proxy::RouteConfig& route = config_->routes[i];
      const Node inherited = inherited_by(route_node(i));
      const Node effective = merge(inherited, route_node(i));
      collect_origins(effective, effective.place.line, fmt::format("/route/{}", i), origins_);
      apply(merge(inherited, policies_of(&route_node(i))), route);
    }
    for (const proxy::ListenerConfig& listener : config_->listeners) {
      if (!listener.allow.empty()) add_allowed(listener);
    }
    HOLDFAST_ASSERT(!diagnostics_.has_errors());
  }

  void apply(const Node& merged, proxy::RouteConfig& route) {
    Policies policies;
    Reader keys(diagnostics_, merged, "route", true);
    read_policies(keys, policies, context_);
    route.timeout = policies.timeout;
    route.retry = policies.retry;
    apply_idempotency(policies.idempotency, child(&merged, "idempotency"), route);
    route.fallbacks = std::move(policies.fallbacks);
  }

  /// A route that answers by itself keeps no records, whatever it inherits.
  void apply_idempotency(const policy::IdempotencyOptions& idempotency, const Node* table,
                         proxy::RouteConfig& route) {
    if (route.respond) return;
    route.idempotency = idempotency;
    complete_idempotency(route.idempotency, table, route.name, config_->store.on_error);
  }

  const Node& root_;
  Diagnostics& diagnostics_;
  std::shared_ptr<proxy::Config> config_;
  LoadContext context_;
  std::map<std::string, std::string> addresses_;  // address to who listens there
  Origins origins_;
};

ConfigFailure failure(const std::string& path, std::string_view document,
                      const std::vector<Diagnostic>& errors) {
  std::string first = headline(path, errors.front());
  if (errors.size() > 1) {
    first += fmt::format(" (and {} more, see holdfast validate)", errors.size() - 1);
  }
  return {render(path, document, "error", errors), std::move(first)};
}

}  // namespace

std::string pointer_step(std::string_view name) {
  std::string step;
  for (const char c : name) {
    if (c == '~') {
      step += "~0";
    } else if (c == '/') {
      step += "~1";
    } else {
      step += c;
    }
  }
  return step;
}

Result<LoadedConfig, ConfigFailure> load_config(const std::string& path,
                                                const Environment& environment,
                                                const proxy::Config* in_use) {
  const auto document = read_regular_file(path, max_config_bytes);
  if (!document) {
    return unexpected(
        failure(path, "", {{{}, "cannot read the configuration: " + document.error(), ""}}));
  }
  return load_document(path, *document, environment, in_use);
}

Result<LoadedConfig, ConfigFailure> load_document(const std::string& path,
                                                  std::string_view document,
                                                  const Environment& environment,
                                                  const proxy::Config* in_use) {
  auto root = parse_toml(document);
  if (!root) {
    return unexpected(failure(path, document, {{root.error().place, root.error().message, ""}}));
  }
  Diagnostics diagnostics;
  expand_strings(*root, environment, diagnostics);
  LoadedConfig loaded = Loader(path, *root, diagnostics, in_use).load();
  if (diagnostics.has_errors()) return unexpected(failure(path, document, diagnostics.errors()));
  loaded.warnings = render(path, document, "warning", diagnostics.warnings());
  return loaded;
}

}  // namespace holdfast::app
