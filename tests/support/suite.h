// Everything an integration suite uses.
#pragma once

#include <doctest/doctest.h>
#include <signal.h>

#include "tests/support/checks.h"
#include "tests/support/holdfast_process.h"
#include "tests/support/scripted_upstream.h"
