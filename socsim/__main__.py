"""Lets ``python -m socsim`` stand for the ``socsim`` command."""

from socsim.cli import program

program()
