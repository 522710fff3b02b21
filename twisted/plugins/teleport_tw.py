"""
What C{twistd} offers once the package is installed; building is L{teleport_tw.daemon}'s.
"""

from twisted.application.service import ServiceMaker

auth = ServiceMaker("Teleport auth", "teleport_tw.daemon.auth", "The auth service of a cluster.", "teleport-auth")
proxy = ServiceMaker("Teleport proxy", "teleport_tw.daemon.proxy", "The proxy service of a cluster.", "teleport-proxy")
agent = ServiceMaker("Teleport agent", "teleport_tw.daemon.agent", "Agents that serve this host.", "teleport-agent")
teleport = ServiceMaker("Teleport", "teleport_tw.daemon.all", "All services the file enables.", "teleport")
