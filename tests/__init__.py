"""The tests. Their own process can be armed with failpoints; what they start as production would, cannot."""

import importlib
import os

SWITCH = "PORTFOLIO_SCHEDULER_FAILPOINTS"

os.environ[SWITCH] = "1"  # looked at once, when the module is imported
importlib.import_module("portfolio_scheduler.failpoints")
del os.environ[SWITCH]
