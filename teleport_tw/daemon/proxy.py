"""
What C{twistd} looks for behind its plugin: options, and the service they describe.
"""

from __future__ import annotations

from twisted.application.service import IService

from teleport_tw.daemon.options import ProxyOptions as Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """
    @return: started by C{twistd} after it has become a daemon.
    """
    from teleport_tw.daemon.build import build

    return build(
        options.configuration,
        insecure=bool(options["insecure"]),
        reread=options.read,
        log=options.logs,
    )
