"""The bodies of requests as they come."""

from starlette.types import Message, Receive

from crossmodal.serving.turns import Turns

SMALL = 16_000  # bytes that are taken up at once


class Body:
    """The body of one request.

    Its bytes are counted, since a header may say fewer, or nothing; a body of too many is cut off. Of all the large
    bodies that come at a time one part is taken up, of the one of which least has come, so that searches and small uploads
    do not wait for large ones.
    """

    def __init__(self, most: int, turns: Turns) -> None:
        """It may have `most` bytes; all bodies of a server share one turn."""
        self._most, self._come = most, 0
        self._turns, self._has_turn = turns, False
        self.too_many = self.told = False

    def reader(self, receive: Receive) -> Receive:
        """Return what the application receives."""

        async def read() -> Message:
            self.done()
            message = await receive()
            part = message.get("body", b"")
            self._come += len(part)
            if self._come > self._most:
                self.too_many = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if len(part) > SMALL:
                await self._turns.take(self._come)
                self._has_turn = True
                if not message.get("more_body"):  # after the last part nothing tells when it was taken up
                    self.done()
            return message

        return read

    def done(self) -> None:
        """Pass the turn on, once a part was taken up or will not be."""
        if self._has_turn:
            self._turns.pass_on()
            self._has_turn = False
