# What the integration suites stand on: sockets, a strict HTTP reader, a scripted upstream and the
# binary as a child process. It shares no code with the product.
add_library(holdfast_test_support STATIC
  ${CMAKE_CURRENT_LIST_DIR}/certificates.cc
  ${CMAKE_CURRENT_LIST_DIR}/checks.cc
  ${CMAKE_CURRENT_LIST_DIR}/child_process.cc
  ${CMAKE_CURRENT_LIST_DIR}/fault_link.cc
  ${CMAKE_CURRENT_LIST_DIR}/history.cc
  ${CMAKE_CURRENT_LIST_DIR}/holdfast_process.cc
  ${CMAKE_CURRENT_LIST_DIR}/http_message.cc
  ${CMAKE_CURRENT_LIST_DIR}/keyed_chaos.cc
  ${CMAKE_CURRENT_LIST_DIR}/metrics.cc
  ${CMAKE_CURRENT_LIST_DIR}/name_server.cc
  ${CMAKE_CURRENT_LIST_DIR}/nginx.cc
  ${CMAKE_CURRENT_LIST_DIR}/private_machine.cc
  ${CMAKE_CURRENT_LIST_DIR}/raw_client.cc
  ${CMAKE_CURRENT_LIST_DIR}/redis_server.cc
  ${CMAKE_CURRENT_LIST_DIR}/scripted_upstream.cc
  ${CMAKE_CURRENT_LIST_DIR}/socket.cc
  ${CMAKE_CURRENT_LIST_DIR}/tls_front.cc
  ${CMAKE_CURRENT_LIST_DIR}/tls_relay.cc)
target_include_directories(holdfast_test_support PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(holdfast_test_support PUBLIC holdfast_flags Threads::Threads
  nlohmann_json::nlohmann_json PkgConfig::RE2 OpenSSL::SSL)
if(TARGET holdfast)
  target_compile_definitions(holdfast_test_support PRIVATE
    HOLDFAST_BINARY="$<TARGET_FILE:holdfast>")
else()
  target_compile_definitions(holdfast_test_support PRIVATE HOLDFAST_BINARY="holdfast")
endif()
if(HOLDFAST_SANITIZE)
  target_compile_definitions(holdfast_test_support PRIVATE HOLDFAST_SANITIZED)
endif()
