A first whole cluster: auth, proxy and SSH agent as twistd plugins, short-lived SSH and X.509 certificates, roles,
reverse tunnels, audit log and session recordings, with ``tsh``, ``tctl`` and stock OpenSSH clients.
