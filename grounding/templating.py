"""How every page is made from its template: what is put in is text, never markup, and what is missing is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(package: str = "grounding") -> Environment:
    """The templates of a package, in its folder `templates`."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
