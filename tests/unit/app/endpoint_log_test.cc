#include "holdfast/app/endpoint_log.h"

#include <doctest/doctest.h>

#include "tests/support/capture_file.h"

namespace holdfast::app {
namespace {

using namespace std::chrono_literals;
using proxy::EndpointChange;
using proxy::EndpointState;

constexpr TimePoint start = TimePoint(1000s);

EndpointChange ejected(TimePoint at) {
  return {"10.0.0.1:80",
          EndpointState::healthy,
          EndpointState::ejected,
          "5 failures in a row",
          30s,
          at};
}

std::string logged(const std::vector<EndpointChange>& changes) {
  testing::CaptureFile file;
  {
    LogSink sink(file.fd());
    Logger logger(sink, LogLevel::info, LogFormat::json);
    EndpointLog log(logger);
    for (const EndpointChange& change : changes) log.changed("pay", change);
  }
  return file.text();
}

TEST_CASE("a change says which endpoint, from what to what, why, and for how long") {
  const std::string text = logged(
      {ejected(start),
       {"10.0.0.1:80", EndpointState::ejected, EndpointState::healthy, "", std::nullopt, start}});
  CHECK(text.find(R"("level":"warn","message":"endpoint ejected","upstream":"pay",)"
                  R"("endpoint":"10.0.0.1:80","from":"healthy","to":"ejected",)"
                  R"("why":"5 failures in a row","lasts":"30s","left_out":0)") !=
        std::string::npos);
  CHECK(text.find(R"("level":"info","message":"endpoint in service")") != std::string::npos);
  CAPTURE(text);
}

TEST_CASE("a name that is not found says why, and whether anything is left of it") {
  testing::CaptureFile file;
  {
    LogSink sink(file.fd());
    Logger logger(sink, LogLevel::info, LogFormat::json);
    EndpointLog log(logger);
    log.name_changed("pay", {"a.test:80", false, "no such name", 2, start});
    log.name_changed("pay", {"b.test:80", false, "no such name", 0, start});
    log.name_changed("pay", {"a.test:80", true, "", 1, start});
  }
  const std::string text = file.text();
  for (
      const std::string_view part :
      {R"("level":"warn","message":"a name is not found, its last addresses stay in use",)"
       R"("upstream":"pay","name":"a.test:80","why":"no such name","addresses":2,"left_out":0)",
       R"("level":"warn","message":"a name is not found","upstream":"pay","name":"b.test:80")",
       R"("level":"info","message":"a name is found again","upstream":"pay","name":"a.test:80")"}) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  }
}

TEST_CASE("an endpoint that flaps gets 20 lines at once, then one each second") {
  std::vector<EndpointChange> changes(120, ejected(start));
  changes.push_back(ejected(start + 900ms));
  changes.push_back(ejected(start + 1s));
  changes.push_back(ejected(start + 1s));
  changes.push_back(ejected(start + 500ms));  // another thread's clock
  changes.push_back(ejected(start + 1h));
  const std::string text = logged(changes);
  CHECK(std::ranges::count(text, '\n') == 22);
  CHECK(text.find("\"left_out\":101") != std::string::npos);
  CHECK(text.find("\"left_out\":2") != std::string::npos);
}

}  // namespace
}  // namespace holdfast::app
