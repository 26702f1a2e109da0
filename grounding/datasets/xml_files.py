"""XML of annotations. Nothing that it refers to is fetched, and expat refuses entities that grow without end."""

import xml.etree.ElementTree as ET

from grounding.errors import GroundingError


def parse_xml(where: str, content: bytes) -> ET.Element:
    """The root element of a file.

    Args:
        where: it stands, for messages.

    Raises:
        GroundingError: it is broken, named with its line, or in an encoding that is not known.
    """
    try:
        return ET.fromstring(content)
    except ET.ParseError as error:
        raise GroundingError(f"{where}, line {error.position[0]}: broken XML ({error})") from error
    except (LookupError, ValueError) as error:  # ValueError: of several bytes a letter, but for UTF-8 and UTF-16
        raise GroundingError(f"{where}: its XML cannot be decoded ({error}): save it as UTF-8") from error
