"""The report: one page that holds every experiment, an interactive timeline, the configuration, and where all of it comes from."""

from socsim.report.contents import Contents, Description, collect
from socsim.report.page import render, write_page

__all__ = ["Contents", "Description", "collect", "render", "write_page"]
