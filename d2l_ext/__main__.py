"""`python -m d2l_ext` is the command line."""

from d2l_ext.cli import main

main(prog_name="d2l-ext")
