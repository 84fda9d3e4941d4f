"""The documentation site: `make docs`, then docs/_build/html/index.html."""

import logging
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

project = "unnoise"
author = "the authors of unnoise"
copyright = "the authors of unnoise, Apache-2.0"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "formulas"]
exclude_patterns = ["_build", "_ext", "labs/runs"]

# Notebooks: one style, and a profile of their own, so that nobody's private one changes what they show. Kernels say errors alone.
PROFILE = HERE / "_build" / "ipython" / "profile_default"
PROFILE.mkdir(parents=True, exist_ok=True)
(PROFILE / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\nc.HistoryManager.enabled = False\n", "utf-8")
os.environ |= {"MATPLOTLIBRC": str(HERE / "labs" / "matplotlibrc"), "IPYTHONDIR": str(PROFILE.parent)}
logging.getLogger("traitlets").setLevel(logging.WARNING)

# Labs and questions are notebooks: executed when the site is built, and again only where their code has changed.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "labs")
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_merge_streams = True

myst_enable_extensions = ["deflist", "dollarmath", "html_image"]
myst_heading_anchors = 4
myst_fence_as_directive: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
html_math_renderer = "mathml"

html_theme = "furo"
html_title = "unnoise"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
nitpicky = False
