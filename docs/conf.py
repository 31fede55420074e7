"""Sphinx configuration: `make docs` builds the site into build/docs, and every warning is an error."""

import zsgym

project = "zsgym"
author = "The zsgym developers"
copyright = "The zsgym developers, Apache-2.0"
version = release = zsgym.__version__

extensions = ["myst_parser"]
exclude_patterns = ["examples"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = f"zsgym {release}"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5f8b", "color-brand-content": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#7cb7e0", "color-brand-content": "#7cb7e0"},
}
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
