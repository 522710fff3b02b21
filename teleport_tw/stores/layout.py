"""
Where each noun is kept.

C{resources/<kind>/<name>}, or C{resources/<kind>/<sub_kind>/<name>} for the kinds whose names are unique within a
sub_kind alone. What must never leave auth lies under C{secrets/}, so that no range over C{resources/} can meet it.
"""

from __future__ import annotations

from teleport_tw.backends.keys import Key, make_key

RESOURCES = "resources"
SECRETS = "secrets"

NAMED_WITHIN_SUB_KIND = frozenset({"cert_authority", "semaphore"})
"""A cluster has one authority of each type, all with the cluster's name; a user has one semaphore for each use."""


def resource_key(kind: str, sub_kind: str, name: str) -> Key:
    """
    @param sub_kind: only looked at for kinds named within one.
    @raise TeleportError: BAD_PARAMETER; a part is not a legal name.
    """
    if kind in NAMED_WITHIN_SUB_KIND:
        return make_key((RESOURCES, kind, sub_kind, name))
    return make_key((RESOURCES, kind, name))


def kind_prefix(kind: str) -> Key:
    """
    @return: what all resources of a kind lie below.
    """
    return make_key((RESOURCES, kind))


def password_key(username: str) -> Key:
    """
    @return: of the user's password hash.
    """
    return make_key((SECRETS, "password", username))


def devices_prefix(username: str) -> Key:
    """
    @return: what the user's second factors lie below, each under its id.
    """
    return make_key((SECRETS, "mfa_device", username))


def webauthn_user_key(username: str) -> Key:
    """
    @return: of the handle by which the user's keys know their user.
    """
    return make_key((SECRETS, "webauthn_user", username))


def webauthn_credential_key(id_hash: str) -> Key:
    """
    @return: of whose a credential is, under the hash of its id.
    """
    return make_key((SECRETS, "webauthn_credential", id_hash))


def webauthn_settings_key(name: str) -> Key:
    """
    @return: of what the cluster keeps of WebAuthn itself.
    """
    return make_key((SECRETS, "webauthn_settings", name))


def recovery_key(username: str) -> Key:
    """
    @return: of the user's recovery codes.
    """
    return make_key((SECRETS, "recovery_codes", username))


def challenge_key(id: str) -> Key:
    """
    @return: of a challenge that waits for its answer.
    """
    return make_key((SECRETS, "mfa_challenge", id))


def answered_key(username: str, holder: str) -> Key:
    """
    @return: of when a user last answered, by whose certificate.
    """
    return make_key((SECRETS, "mfa_answered", username, holder))


def answered_prefix(username: str) -> Key:
    """
    @return: what the user's latest answers lie below.
    """
    return make_key((SECRETS, "mfa_answered", username))


def web_session_key(id_hash: str) -> Key:
    """
    @return: of a session on the web, under the hash of its id.
    """
    return make_key((SECRETS, "web_session", id_hash))


def sign_in_key(username: str, public_id: str) -> Key:
    """
    @return: of which session a public id stands for.
    """
    return make_key((SECRETS, "web_sign_in", username, public_id))


def sign_ins_prefix(username: str) -> Key:
    """
    @return: what the user's sessions on the web are listed below.
    """
    return make_key((SECRETS, "web_sign_in", username))


def headless_key(id: str) -> Key:
    """
    @return: of a headless request.
    """
    return make_key((SECRETS, "headless", id))


def browser_login_key(id: str) -> Key:
    """
    @return: of a program that asked to be signed in by a browser.
    """
    return make_key((SECRETS, "browser_login", id))


def tap_key(id: str) -> Key:
    """
    @return: of a second factor that an SSH login waits for.
    """
    return make_key((SECRETS, "tap", id))


def headless_of_prefix(username: str) -> Key:
    """
    @return: what the ids of a user's headless requests lie below.
    """
    return make_key((SECRETS, "headless_of", username))


def attempts_key(username: str) -> Key:
    """
    @return: of the user's failed logins.
    """
    return make_key((SECRETS, "login_attempts", username))


def authority_key(sub_kind: str, name: str) -> Key:
    """
    @return: of an authority's private halves.
    """
    return make_key((SECRETS, "cert_authority", sub_kind, name))


def setup_key(token_hash: str) -> Key:
    """
    @return: of an invite or reset, under the hash of its token.
    """
    return make_key((SECRETS, "setup", token_hash))


def setups_prefix() -> Key:
    """
    @return: what all invites and resets lie below.
    """
    return make_key((SECRETS, "setup"))


def token_use_key(token_hash: str) -> Key:
    """
    @return: of how often a join token was used, under its hash.
    """
    return make_key((SECRETS, "token_use", token_hash))


def recording_owner_key(session: str) -> Key:
    """
    @return: of the id of the host that records a session.
    """
    return make_key((SECRETS, "recording_owner", session))


def known_host_key(host_id: str) -> Key:
    """
    @return: of what is remembered of a host that has joined.
    """
    return make_key((SECRETS, "known_host", host_id))


def joined_prefix(handle: str) -> Key:
    """
    @return: what those lie below that joined by a token of late.
    """
    return make_key((SECRETS, "joined", handle))


def joined_key(handle: str, host_id: str, role: str) -> Key:
    """
    @return: of one of them.
    """
    return make_key((SECRETS, "joined", handle, f"{host_id}.{role}"))


def certified_name_key(name_hash: str) -> Key:
    """
    @return: of which hosts are certified for a name, under its hash.
    """
    return make_key((SECRETS, "certified_name", name_hash))
