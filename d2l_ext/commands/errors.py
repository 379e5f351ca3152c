"""What a command raises where the user can mend it."""

import click


class UserError(click.ClickException):
    """Something is wrong with what the user gave."""

    exit_code = 2
