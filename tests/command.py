"""The command line, as a user types it."""

from click.testing import CliRunner

from d2l_ext.cli import main


def invoke(*arguments, status=0, **options):
    """Run a command, which must end with a status and without a traceback; return its result."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
    assert result.exit_code == status, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert not status or isinstance(result.exception, SystemExit)
    return result
