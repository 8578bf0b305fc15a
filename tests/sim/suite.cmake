# The simulator: the real proxy, policy and store over a network, a clock, timers, chance and faults
# that come from a seed. It is fast because it is optimised, unlike other tests.
set(HOLDFAST_SIM_SECONDS 60 CACHE STRING "How long the test `sim` tries fresh seeds")
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
list(FILTER sources EXCLUDE REGEX "(main|_test)\\.cc$")
add_library(holdfast_sim_parts STATIC ${sources} ${CMAKE_CURRENT_LIST_DIR}/../support/certificates.cc
  ${CMAKE_CURRENT_LIST_DIR}/../support/child_process.cc
  ${CMAKE_CURRENT_LIST_DIR}/../support/fake_network.cc
  ${CMAKE_CURRENT_LIST_DIR}/../support/history.cc ${CMAKE_CURRENT_LIST_DIR}/../support/socket.cc)
target_link_libraries(holdfast_sim_parts PUBLIC holdfast_proxy)
target_include_directories(holdfast_sim_parts PUBLIC ${CMAKE_SOURCE_DIR})
target_compile_options(holdfast_sim_parts PRIVATE $<$<CONFIG:Release>:-O2>)

add_executable(holdfast_sim ${CMAKE_CURRENT_LIST_DIR}/main.cc)
target_link_libraries(holdfast_sim PRIVATE holdfast_sim_parts)
add_test(NAME sim COMMAND holdfast_sim --seconds ${HOLDFAST_SIM_SECONDS})
math(EXPR sim_timeout "${HOLDFAST_SIM_SECONDS} + 60")
set_tests_properties(sim PROPERTIES LABELS sim TIMEOUT ${sim_timeout})
# With TLS a seed takes ten times as long: fresh ones for a while, beside some that stay.
math(EXPR sim_tls_seconds "${HOLDFAST_SIM_SECONDS} / 3")
add_test(NAME sim.tls COMMAND holdfast_sim --tls --seconds ${sim_tls_seconds})
add_test(NAME sim.tls.fixed COMMAND holdfast_sim --tls --seeds 1 470)
set_tests_properties(sim.tls sim.tls.fixed PROPERTIES LABELS sim TIMEOUT ${sim_timeout})

# A planted bug that no longer fits the code shows nothing.
add_test(NAME sim.mutants COMMAND ${CMAKE_CURRENT_LIST_DIR}/mutants/run --check)
set_tests_properties(sim.mutants PROPERTIES LABELS sim TIMEOUT 60)

add_executable(unit_sim ${CMAKE_CURRENT_LIST_DIR}/sim_test.cc $<TARGET_OBJECTS:holdfast_test_main>)
target_link_libraries(unit_sim PRIVATE holdfast_sim_parts)
add_test(NAME unit.sim COMMAND unit_sim)
set_tests_properties(unit.sim PROPERTIES LABELS unit TIMEOUT 120)
