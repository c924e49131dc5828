"""One call to a server that has an end.

The timeout of a socket counts from each byte: a server that sends one now and then, in its
headers or after them, would hold a call for as long as it likes.
"""

import urllib.request
from threading import Thread

_MOST_BYTES = 1_000_000


def ask(request: urllib.request.Request, *, within_s: float) -> bytes:
    """Return the beginning of a server's answer, at most 1 MB.

    Args:
        request: of an http address.
        within_s: seconds for the whole call.

    Raises:
        urllib.error.HTTPError: it answers, and refuses.
        OSError: it does not answer, or not in time.
        ValueError: the address or the answer is none.
        http.client.HTTPException: what answers is no http server.
    """
    answers: list[bytes] = []
    errors: list[Exception] = []

    def call() -> None:
        try:
            with urllib.request.urlopen(request, timeout=within_s) as answer:  # noqa: S310
                answers.append(answer.read(_MOST_BYTES))
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            errors.append(error)

    caller = Thread(target=call, name="evergreen-ask", daemon=True)
    caller.start()
    caller.join(within_s)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError("timed out")
    return answers[0]
