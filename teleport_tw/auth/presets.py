"""
The roles a cluster has from its first start on; pure.

At every start a preset gets the rules it lacks, and nothing else: a kind that an administrator named in it, in allow or
deny, is left alone, and so is a role of the same name without the label.

@see: reference, section 3.8
"""

from __future__ import annotations

from attrs import evolve

from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.presets import PRESET_LABEL, PRESETS


def presets() -> tuple[Resource, ...]:
    """
    @return: the roles as a new cluster has them.
    """
    return PRESETS


def refreshed(stored: Resource, preset: Resource) -> Resource | None:
    """
    @return: the stored role with the rules it lacks; None when it lacks none or is nobody's preset.
    """
    if stored.metadata.labels.get(PRESET_LABEL) != "preset":
        return None
    allow, deny = dict(stored.spec.get("allow") or {}), stored.spec.get("deny") or {}
    named = {kind for rule in [*(allow.get("rules") or ()), *(deny.get("rules") or ())] for kind in rule["resources"]}
    missing = []
    for rule in preset.spec["allow"].get("rules") or ():
        kinds = [kind for kind in rule["resources"] if kind not in named]
        if kinds and "*" not in named:
            missing.append({**rule, "resources": kinds})
    if not missing:
        return None
    allow["rules"] = [*(allow.get("rules") or ()), *missing]
    return evolve(stored, spec={**stored.spec, "allow": allow})
