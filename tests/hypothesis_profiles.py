"""How hard the properties are tried: a little in each run, and for long in `nox -s campaign`."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

settings.register_profile("quick", max_examples=50, derandomize=True, deadline=None, database=None)
settings.register_profile(
    "campaign", max_examples=10_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("mutation", settings.get_profile("quick"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("quick")
