// RequestCopy: the head of a request, in memory of its own: for work that outlives the connection
// the request came on.
//
// Contract: head() equals the original in every member; its views point into this object, which
// therefore does not move.
#pragma once

#include <string>

#include "holdfast/http/message.h"

namespace holdfast::http {

class RequestCopy {
 public:
  explicit RequestCopy(const RequestHead& original);
  RequestCopy(const RequestCopy&) = delete;
  RequestCopy& operator=(const RequestCopy&) = delete;

  const RequestHead& head() const { return head_; }

 private:
  std::string bytes_;
  RequestHead head_;
};

}  // namespace holdfast::http
