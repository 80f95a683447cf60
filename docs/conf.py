"""The site: sphinx-build -W --keep-going -b html docs site."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

import equalized_lr

project = "equalized-lr"
author = "The equalized-lr developers"
copyright = author  # noqa: A001
version = release = equalized_lr.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples"]
nitpicky = True

html_math_renderer = "mathml"  # by the browser itself, with no script and no network
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# Docstrings are Markdown in their code, `like this`.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False

REPOSITORY = ""  # its address, once it is public: each page then links its source
html_theme = "furo"
html_theme_options = (
    {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}
    if REPOSITORY
    else {}
)
html_title = f"equalized-lr {version}"
html_show_sphinx = False
html_static_path = ["img", "style.css"]
html_css_files = ["style.css"]

# Pages are read on GitHub, too, where a toctree would be a block of code.
CONTENTS = {
    "Use it": [
        *("start", "guide", "learning_speed", "choose"),
        *("works-with", "checkpoints", "limitations", "faq"),
    ],
    "Understand it": ["math", "fans", "optimizers", "lreqadam"],
    "See it measured": ["rates", "progressive_gan", "width_transfer", "performance"],
    "Reference": ["api", "CONTRIBUTING"],
}


def _add_contents(app: object, page: str, source: list[str]) -> None:
    if page == "index":
        for caption, pages in CONTENTS.items():
            names = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n"


def _add_math(translator: Any, node: nodes.Element) -> None:
    """A formula as MathML, in the line or in a line of its own."""
    block = isinstance(node, nodes.math_block)
    formula = convert(node.astext(), display="block" if block else "inline")
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_contents)
    app.add_html_math_renderer("mathml", (_add_math, None), (_add_math, None))
