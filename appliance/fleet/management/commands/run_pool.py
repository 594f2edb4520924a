"""`manage.py run_pool`: keeps the engines as the deployments want them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from appliance.fleet.store import DatabaseStore
