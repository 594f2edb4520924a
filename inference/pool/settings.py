"""The pool's settings and the folders that follow from them. Reading them from the environment is the caller's."""

from dataclasses import dataclass
from pathlib import Path

from inference.attached.secrets import ATTACHED


@dataclass(frozen=True)
class RaySettings:
    """The Ray cluster that has the other machines; `nodes` names those to use, none of them means all but this one."""

    address: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PoolSettings:
    """Where things are, and how long things may take.

    `drain_s` and `grace_s` bound one replica's end in normal work, `patient_drain_s` the end of one that only makes
    way for others that serve meanwhile; `stop_drain_s` and `stop_grace_s` the end of the whole appliance, with hung
    engines too. `time_zone`: the box's, for windows of the day. A hung engine is found within `canary_period_s` +
    `canary_timeout_s` + one scrape; one on processors that computes without a token, within `at_work_timeout_s`. After
    `settled_s` of service an engine's failures before are forgotten.
    """

    data_dir: Path
    run_dir: Path
    journal_dir: Path
    device_kind: str = "auto"
    cpu_devices: int | None = None
    engine_kind: str = "vllm"
    tick_s: float = 1.0
    scrape_s: float = 2.0
    devices_s: float = 5.0
    canary_period_s: float = 4.0
    canary_timeout_s: float = 8.0
    at_work_timeout_s: float = 120.0
    attached_canary_period_s: float = 10.0
    load_timeout_s: float = 1800.0
    warm_timeout_s: float = 180.0
    settled_s: float = 60.0
    drain_s: float = 30.0
    patient_drain_s: float = 600.0
    grace_s: float = 10.0
    stop_drain_s: float = 5.0
    stop_grace_s: float = 5.0
    logs_kept: int = 5
    time_zone: str = "UTC"
    ray: RaySettings | None = None  # None: engines on this machine only

    @property
    def lock(self) -> Path:
        return self.data_dir / "replicas" / "pool.lock"

    @property
    def attached_dir(self) -> Path:
        """Where the keys of attached servers lie."""
        return self.data_dir / ATTACHED

    def log(self, name: str, life_id: str) -> Path:
        return self.data_dir / "logs" / f"engine-{name}-{short(life_id)}.log"

    def home(self, life_id: str) -> Path:
        return self.data_dir / "replicas" / short(life_id)

    def adapters(self, life_id: str) -> Path:
        """What the engine's adapters are: it goes with the engine's home."""
        return self.home(life_id) / "adapters.json"

    def cache(self, deployment_id: str) -> Path:
        """What an engine compiles for a model, kept from one life to the next."""
        return self.data_dir / "replicas" / "cache" / deployment_id

    def socket(self, life_id: str) -> Path:
        return self.run_dir / "replicas" / f"{short(life_id)}.sock"

    def scratch(self, life_id: str) -> Path:
        """Temporary files and inner sockets of one engine; in the run directory because their paths must be short."""
        return self.run_dir / "replicas" / f"{short(life_id)}.d"


def short(life_id: str) -> str:
    return life_id.replace("-", "")[:8]
