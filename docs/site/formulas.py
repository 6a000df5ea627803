"""A Markdown extension: formulas as MathML, which browsers draw themselves, so that no script and no font is loaded for them."""

import html
import re

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor

# What pymdownx.arithmatex makes of $...$ and $$...$$.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


class Formulas(Extension):
    """Turns the formulas that arithmatex has found."""

    def extendMarkdown(self, md: Markdown) -> None:
        # After all others: they bring back what they had set aside.
        md.postprocessors.register(_Mathml(md), "mathml", -10)


class _Mathml(Postprocessor):
    def run(self, text: str) -> str:
        return _FORMULA.sub(lambda found: mathml(html.unescape(found[2]), block=found[1] == "div"), text)


def mathml(formula: str, block: bool) -> str:
    """A formula in LaTeX as MathML; a block can be scrolled where the page is narrower."""
    drawn = convert(formula.strip(), display="block" if block else "inline")
    return f'<div class="formula" tabindex="0">{drawn}</div>' if block else drawn


def makeExtension() -> Formulas:
    return Formulas()
