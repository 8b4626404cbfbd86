"""Commands of layerprobe, run within the tests' process."""

from click.testing import Result
from typer.testing import CliRunner

from layerprobe.cli.main import app


def invoke(*arguments: object, code: int = 0) -> Result:
    """Run a command, which must end with this exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def run(*arguments: object, code: int = 0) -> str:
    """What a command writes: its results where it is to succeed, else its error."""
    result = invoke(*arguments, code=code)
    return result.stdout if code == 0 else result.stderr
