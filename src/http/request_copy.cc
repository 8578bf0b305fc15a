#include "holdfast/http/request_copy.h"

namespace holdfast::http {

RequestCopy::RequestCopy(const RequestHead& original) : head_(original) {
  std::size_t size = original.method_text.size() + original.target.size() + original.path.size() +
                     original.query.size() + original.authority.size();
  for (const Field& field : original.fields) size += field.name.size() + field.value.size();
  bytes_.reserve(size);  // so that no view moves

  const auto copy = [this](std::string_view text) {
    const std::size_t at = bytes_.size();
    bytes_.append(text);
    return std::string_view(bytes_).substr(at);
  };
  head_.method_text = copy(original.method_text);
  head_.target = copy(original.target);
  head_.path = copy(original.path);
  head_.query = copy(original.query);
  head_.authority = copy(original.authority);
  head_.fields.clear();
  for (const Field& field : original.fields) {
    const std::string_view name = copy(field.name);
    head_.fields.add(name, copy(field.value));
  }
}

}  // namespace holdfast::http
