#include "holdfast/http/problem.h"

#include <iterator>

#include "holdfast/base/text.h"

namespace holdfast::http {
namespace {

struct ProblemText {
  std::string_view name;
  int status;
  std::string_view title;
};

// In the order of Problem.
constexpr ProblemText problems[] = {
    {"bad-request", 400, "The request cannot be read in exactly one way."},
    {"destination-not-allowed", 403, "This proxy does not go there."},
    {"no-route", 404, "No route takes this request."},
    {"method-not-allowed", 405, "This method is not allowed here."},
    {"request-timeout", 408, "The request did not arrive in time."},
    {"content-too-large", 413, "The body of the request is larger than allowed."},
    {"uri-too-long", 414, "The request line is longer than allowed."},
    {"expectation-failed", 417, "The expectation of the request cannot be met."},
    {"headers-too-large", 431, "The header fields of the request are larger than allowed."},
    {"not-implemented", 501, "This method is not known."},
};
static_assert(std::size(problems) == static_cast<std::size_t>(Problem::not_implemented) + 1);

const ProblemText& text_of(Problem problem) {
  return problems[static_cast<std::size_t>(problem)];
}

// In the order of ErrorType.
constexpr std::string_view error_titles[] = {
    "The name of the upstream could not be resolved.",
    "The name of the upstream was not resolved in time.",
    "The upstream refused the connection.",
    "The connection to the upstream was not made in time.",
    "There is no way to the upstream's address.",
    "TLS with the upstream failed.",
    "The upstream's certificate is not accepted.",
    "The upstream ended TLS with an alert.",
    "The upstream closed the connection without an answer.",
    "The upstream's answer is incomplete.",
    "The upstream's answer is not valid HTTP.",
    "The upstream did not answer in time.",
    "The upstream stopped sending.",
    "The upstream stopped reading.",
    "The upstream is not available at the moment.",
    "There are too many requests for the upstream.",
    "The rate of requests is above its limit.",
    "The request is not valid.",
    "The upstream did not accept the change of protocol.",
    "The request has come back to this proxy too often.",
    "The proxy failed.",
};
static_assert(std::size(error_titles) == error_type_count);

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  append_json_escaped(out, text);
  out += '"';
}

void append_key(std::string& out, std::string_view key) {
  out += ',';
  append_json_string(out, key);
  out += ':';
}

void append_type(std::string& out, std::string_view type_name) {
  out += "\"type\":\"urn:problem-type:holdfast:";
  for (const char c : type_name) out += c == '_' ? '-' : c;
  out += '"';
}

struct Phrase {
  int status;
  std::string_view text;
};

constexpr Phrase phrases[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
};

}  // namespace

std::string_view name(Problem problem) {
  return text_of(problem).name;
}
int status_of(Problem problem) {
  return text_of(problem).status;
}
std::string_view title(Problem problem) {
  return text_of(problem).title;
}
std::string_view title(ErrorType type) {
  return error_titles[static_cast<std::size_t>(type)];
}

std::string_view reason_phrase(int status) {
  for (const Phrase& phrase : phrases) {
    if (phrase.status == status) return phrase.text;
  }
  return "";
}

ProblemWriter::ProblemWriter(std::string& out, std::string_view type_name, std::string_view title,
                             int status, std::string_view detail)
    : out_(out) {
  out_ += '{';
  append_type(out_, type_name);
  text("title", title);
  number("status", status);
  text("detail", detail);
}

void ProblemWriter::text(std::string_view key, std::string_view value) {
  append_key(out_, key);
  append_json_string(out_, value);
}

void ProblemWriter::number(std::string_view key, int value) {
  append_key(out_, key);
  out_ += std::to_string(value);
}

void ProblemWriter::boolean(std::string_view key, bool value) {
  append_key(out_, key);
  out_ += value ? "true" : "false";
}

void ProblemWriter::finish(std::string_view request_id) {
  text("request_id", request_id);
  out_ += '}';
}

void append_problem_json(std::string& out, std::string_view type_name, std::string_view title,
                         int status, std::string_view detail, std::string_view request_id) {
  ProblemWriter(out, type_name, title, status, detail).finish(request_id);
}

}  // namespace holdfast::http
