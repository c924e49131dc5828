"""The command `evergreen`: signals are heard before anything heavy is imported."""

import signal
import sys


def main() -> None:
    """Run the command; its exit code is that of a signal if one was heard, whatever came of it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while these are imported
    from evergreen.interruption import (
        a_server_has_gone,
        end_at_once,
        listen_to_signals,
        say_interrupted,
    )
    from evergreen.streams import prepare_streams
    from pipeline_lib.interruption import heard

    code = 0
    prepare_streams()  # first of all files: a closed stream gives its number to the next one
    listener = listen_to_signals()
    try:
        try:
            from evergreen.app import run_command

            code = run_command()
        finally:
            listener.conclude()
    except BaseException as error:
        listener.conclude()
        if heard() is None and not isinstance(error, KeyboardInterrupt):
            raise
    else:
        if heard() is None:
            sys.exit(code)
    code = say_interrupted()
    if a_server_has_gone():
        end_at_once(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
