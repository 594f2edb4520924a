"""What a gateway process is told at its start. The appliance fills this in; nothing here reads the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inference.attached.secrets import ATTACHED
from inference.gateway.open_table import beside


@dataclass(frozen=True)
class GatewaySettings:
    """Durations are in seconds, sizes in bytes."""

    host: str
    port: int
    workers: int
    console_socket: Path
    directory_dsn: str
    journal_dir: Path
    salt_secret: bytes
    redis_url: str
    prom_dir: Path
    metrics_dir: Path  # the other processes' metrics pages, one socket each
    board_path: Path  # what the workers share of loads and queues
    public_scheme: str = "http"  # what clients use, "https" with a TLS front; the console builds its links with it
    max_body_bytes: int = 4 * 1024 * 1024
    body_memory_bytes: int = 512 * 1024 * 1024  # of large bodies that are not admitted yet, in one worker
    redis_answer_s: float = 0.05  # slower, and a worker decides over limits alone for a moment
    queue_wait_s: float = 30.0
    fim_target_s: float = 0.3  # until the first event of an answer that fills in the middle
    queue_requests: int = 512  # that wait in one worker
    queue_bytes: int = 64 * 1024 * 1024  # of their bodies
    backlog: int = 4096
    head_timeout_s: float = 30.0  # for a whole request head, and for a body's next byte
    body_timeout_s: float = 300.0  # for a whole body that an engine is to get
    idle_timeout_s: float = 75.0  # between two requests of one connection
    stall_timeout_s: float = 120.0  # a client that takes nothing of its answer
    comment_after_s: float = 10.0  # a waiting stream gets its header and comments from here on
    engine_silence_s: float = 600.0  # a started stream without a byte from its engine
    abort_wait_s: float = 2.0  # how long an aborted request's true usage is waited for
    max_answer_bytes: int = 64 * 1024 * 1024  # of a whole one, as it is held for its usage
    conversation_min_free_bytes: int = 1024 * 1024 * 1024  # usage comes first: with less disk, no conversation is kept

    @property
    def sessions_path(self) -> Path:
        """What the workers share of editor sessions."""
        return self.board_path.with_name(self.board_path.name + "-sessions")

    @property
    def open_dir(self) -> Path:
        """Where the workers keep their open requests."""
        return beside(self.journal_dir)

    @property
    def attached_dir(self) -> Path:
        """Where the keys of servers lie that the pool did not start."""
        return self.journal_dir.with_name(ATTACHED)

    @property
    def conversation_dir(self) -> Path:
        """Where the conversations lie that tenants asked to have kept."""
        return self.journal_dir.parent / "conversations"

    @property
    def conversation_key(self) -> Path:
        """The file of the key that wraps their keys."""
        return self.journal_dir.parent / "conversation_key"
