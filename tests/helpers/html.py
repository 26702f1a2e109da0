"""A page of HTML taken apart."""

from html.parser import HTMLParser

EMPTY = {"area", "br", "hr", "img", "input", "link", "meta", "wbr"}
SVG = ("path", "rect", "use", "image", "polygon")


class Page(HTMLParser):
    """Tags with attributes, text without style, rows of tables, and whether every tag is closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.rows, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in SVG, f"<{tag}/> does not close itself in HTML"
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
            if "td" in self.open or "th" in self.open:
                self.rows[-1][-1] += data + " "

    def all(self, tag, kind=None):
        return [found for name, found in self.tags if name == tag and (kind is None or found.get("class") == kind)]

    def row(self, first):
        [row] = [row for row in self.rows if row and row[0].split() and row[0].split()[0] == first and len(row) > 6]
        return [" ".join(cell.split()) for cell in row[1:]]
