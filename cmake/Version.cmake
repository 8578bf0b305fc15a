# The commit is looked up at build time, not at configure time, so that it is never a commit old.
# HOLDFAST_COMMIT says it where there is no git, as in the Dockerfile.
find_program(GIT_EXECUTABLE git)
add_custom_target(holdfast_version_file
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUT=${CMAKE_BINARY_DIR}/generated/holdfast_version.h
          -DVERSION=${PROJECT_VERSION} -DGIT=${GIT_EXECUTABLE} -DHOLDFAST_COMMIT=${HOLDFAST_COMMIT}
          -P ${CMAKE_SOURCE_DIR}/cmake/WriteVersion.cmake
  BYPRODUCTS ${CMAKE_BINARY_DIR}/generated/holdfast_version.h
  VERBATIM)
add_library(holdfast_version INTERFACE)
target_include_directories(holdfast_version INTERFACE ${CMAKE_BINARY_DIR}/generated)
add_dependencies(holdfast_version holdfast_version_file)
