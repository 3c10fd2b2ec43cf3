"""A standalone Milvus server of the tests' own, which can be killed and started again."""

import os
import subprocess
from pathlib import Path

from milvus import MilvusServer


class LocalMilvus:
    """The server that the package `milvus` carries."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._server = folder, MilvusServer()
        self._server.set_base_dir(str(folder))
        self._server.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.listen_port}"

    def kill(self) -> None:
        """End it without a warning."""
        self._server.server_proc.kill()
        self._server.server_proc.wait()

    def start_again(self) -> None:
        """Start it on the same port, with what it held.

        The package's own start would look for free ports, and not take those that the killed one had a moment ago.
        """
        program = self._server.server_proc.args[0]
        environment = {
            **os.environ, "DEPLOY_MODE": "STANDALONE", "METRICS_PORT": str(self._server.webservice_port),
            "MILVUS_RUN_DIR": str(self._folder / "run"), "LD_LIBRARY_PATH": os.path.dirname(program),
        }  # fmt: skip
        with (self._folder / "logs" / "again.log").open("w") as log:
            self._server.server_proc = subprocess.Popen(
                [program, "run", "standalone"], env=environment, cwd=self._folder, stdout=log, stderr=log
            )
        self._server.wait_started()

    def stop(self) -> None:
        """End it."""
        self._server.stop()
