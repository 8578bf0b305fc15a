// What tests/support has for a real Redis, brought into this suite.
#include "tests/support/child_process.cc"
#include "tests/support/redis_server.cc"
#include "tests/support/socket.cc"
