"""The command line: python -m crossmodal COMMAND; `--help` lists the commands."""

import argparse
import sys
from collections.abc import Sequence

from crossmodal.commands.albums import add_albums_command
from crossmodal.commands.data import add_data_commands
from crossmodal.commands.export import add_export_command
from crossmodal.commands.measuring import add_measuring_commands
from crossmodal.commands.milvus import add_load_command
from crossmodal.commands.photos import add_index_command
from crossmodal.commands.scripts import add_script_commands
from crossmodal.commands.search import add_search_commands, with_words
from crossmodal.commands.serving import add_serving_commands
from crossmodal.commands.teaching import add_teach_command
from crossmodal.errors import CrossmodalError, printable
from crossmodal.progress import print_anywhere


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    print_anywhere()
    options = _parser().parse_args(with_words(sys.argv[1:] if arguments is None else arguments))
    try:
        options.run(options)
    except CrossmodalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
        return 0
    except OSError as error:
        print(printable(f"{error.filename or 'The disk'} cannot be used ({error.strerror or error})."), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m crossmodal", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_search_commands(commands)
    add_index_command(commands)
    add_teach_command(commands)
    add_albums_command(commands)
    add_serving_commands(commands)
    add_load_command(commands)
    add_measuring_commands(commands)
    add_data_commands(commands)
    add_export_command(commands)
    add_script_commands(commands)
    return parser
