"""The site: sphinx-build -W --keep-going -b html docs site."""

import equalized_lr

project = "equalized-lr"
author = "The equalized-lr developers"
copyright = author  # noqa: A001
version = release = equalized_lr.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["examples"]
nitpicky = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# Docstrings are Markdown in their code, `like this`.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False

html_theme = "furo"
html_title = "equalized-lr"
html_show_sphinx = False
html_static_path = ["img"]

# Pages are read on GitHub, too, where a toctree would be a block of code.
CONTENTS = {
    "Use it": [
        *("guide", "learning_speed", "choose", "works-with", "checkpoints", "limitations", "faq"),
    ],
    "Understand it": ["math", "fans", "optimizers", "lreqadam"],
    "See it measured": ["progressive_gan", "width_transfer", "performance"],
    "Reference": ["api", "CONTRIBUTING"],
}


def _add_contents(app: object, page: str, source: list[str]) -> None:
    if page == "index":
        for caption, pages in CONTENTS.items():
            names = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n"


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_contents)  # type: ignore[attr-defined]
