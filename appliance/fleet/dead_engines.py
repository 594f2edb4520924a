"""Engines that ended while no pool was there to see it, after a power cut for instance: their rows must not be believed."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from appliance.env import Env
from appliance.fleet.models import EngineLife, Replica
from inference.pool import PoolSettings
from inference.pool.launcher import clear_away
from inference.pool.process import is_alive, kill_session
from inference.pool.settings import RaySettings


def pool_settings(env: Env) -> PoolSettings:
    """What the pool of this appliance is told."""
    kind, _, count = env.devices.partition(":")
    return PoolSettings(
        data_dir=env.data_dir,
        run_dir=env.run_dir,
        journal_dir=env.journal_dir,
        device_kind=kind,
        cpu_devices=int(count) if count else None,
        time_zone=env.time_zone,
        ray=RaySettings(env.ray_address or "", env.ray_nodes) if env.launcher == "ray" else None,
    )


def forget_dead_engines(settings: PoolSettings) -> int:
    """Delete replicas without a living engine, before a pool starts; the pool makes the wanted ones anew.

    Living engines stay, for the pool to adopt. Returns how many replicas were deleted.
    """
    count = 0
    for replica in Replica.objects.select_related("life"):
        life = replica.life
        if life is not None and is_alive(life.pid, life.pid_started):
            continue
        if life is not None:
            kill_session(life.pid, life.pid_started)  # its children may have outlived it
            clear_away(settings, str(life.id))
        with transaction.atomic():
            if life is not None:
                EngineLife.objects.filter(pk=life.pk, ended_at=None).update(
                    ended_at=timezone.now(), end_reason="found ended at start", requests_running=0, requests_waiting=0
                )
            replica.delete()
        count += 1
    return count
