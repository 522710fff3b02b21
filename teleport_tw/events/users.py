"""
Events of users, sign-in, second factors and certificates.

@see: reference 7.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from attrs import field, frozen

from teleport_tw.base.timing import Duration
from teleport_tw.events.groups import Actor, Connection, Server
from teleport_tw.events.rating import Fact, Judged, Public, Sensitive

_CODES: Mapping[str, tuple[str, str]] = {
    "oidc": ("T1001I", "T1001W"),
    "saml": ("T1001I", "T1001W"),
    "github": ("T1001I", "T1001W"),
    "headless": ("T1013I", "T1013W"),
}
_STAGES: Mapping[str, str] = {"requested": "T1012I", "approved": "T1013I", "denied": "T1014W"}


@frozen(kw_only=True)
class UserLogin(Judged):
    """
    Somebody signed in, or tried to.

    @ivar method: C{local}, C{client.cert}, C{oidc}, C{saml}, C{github} or C{headless}.
    @ivar attributes: claims of a single sign-on.
    @ivar stage: of a headless sign-in: C{requested}, C{approved} or C{denied}.
    """

    NAME: ClassVar[str] = "user.login"
    CODE: ClassVar[str] = "T1000I"
    FAILED: ClassVar[str] = "T1000W"
    SAYS: ClassVar[str] = "User [{user}] signed in by {method}"
    SAYS_FAILED: ClassVar[str] = "Sign-in of [{user}] by {method} failed: {error}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    method: Public[str] = "local"
    user_agent: Public[str] = ""
    mfa_device: Public[Mapping[str, str]] = field(factory=dict)
    attributes: Sensitive[Mapping[str, Any]] = field(factory=dict)
    connector: Public[str] = ""
    stage: Public[str] = ""

    @property
    def code(self) -> str:
        """
        T1000 for local users, T1001 for single sign-on, T1012 to T1014 for headless.
        """
        if self.method == "headless" and self.stage in _STAGES:
            return _STAGES[self.stage]
        good, bad = _CODES.get(self.method, (self.CODE, self.FAILED))
        return good if self.success else bad

    @classmethod
    def codes(cls) -> tuple[str, ...]:
        """
        @return: the codes of every method.
        """
        both = (code for pair in _CODES.values() for code in pair)
        return tuple(dict.fromkeys([cls.CODE, cls.FAILED, *both, *_STAGES.values()]))


@frozen(kw_only=True)
class _UserRecord(Fact):
    actor: Public[Actor]
    connection: Public[Connection | None] = None
    name: Public[str]
    roles: Public[tuple[str, ...]] = ()
    connector: Public[str] = "local"
    expires: Public[datetime | None] = None


@frozen(kw_only=True)
class UserCreate(_UserRecord):
    """
    A user was made; C{name} is the user, C{actor} who made it.
    """

    NAME: ClassVar[str] = "user.create"
    CODE: ClassVar[str] = "T1002I"
    SAYS: ClassVar[str] = "User [{name}] was created by [{user}]"


@frozen(kw_only=True)
class UserUpdate(_UserRecord):
    """
    A user was changed.
    """

    NAME: ClassVar[str] = "user.update"
    CODE: ClassVar[str] = "T1003I"
    SAYS: ClassVar[str] = "User [{name}] was updated by [{user}]"


@frozen(kw_only=True)
class UserDelete(_UserRecord):
    """
    A user was removed.
    """

    NAME: ClassVar[str] = "user.delete"
    CODE: ClassVar[str] = "T1004I"
    SAYS: ClassVar[str] = "User [{name}] was deleted by [{user}]"


@frozen(kw_only=True)
class UserPasswordChange(Fact):
    """
    A user set a password.
    """

    NAME: ClassVar[str] = "user.password_change"
    CODE: ClassVar[str] = "T1005I"
    SAYS: ClassVar[str] = "User [{user}] changed the password"

    actor: Public[Actor]
    connection: Public[Connection | None] = None


@frozen(kw_only=True)
class _TokenForUser(Fact):
    actor: Public[Actor]
    connection: Public[Connection | None] = None
    name: Public[str]
    ttl: Public[Duration | None] = None
    expires: Public[datetime | None] = None


@frozen(kw_only=True)
class ResetPasswordTokenCreate(_TokenForUser):
    """
    An invite or reset link was made for user C{name}.
    """

    NAME: ClassVar[str] = "reset_password_token.create"
    CODE: ClassVar[str] = "T6000I"
    SAYS: ClassVar[str] = "[{user}] made a sign-up or reset link for [{name}]"


@frozen(kw_only=True)
class RecoveryTokenCreate(_TokenForUser):
    """
    Recovery of an account started.
    """

    NAME: ClassVar[str] = "recovery_token.create"
    CODE: ClassVar[str] = "T6001I"
    SAYS: ClassVar[str] = "Recovery of [{name}] was started"


@frozen(kw_only=True)
class PrivilegeTokenCreate(_TokenForUser):
    """
    A user proved itself again for a sensitive act.
    """

    NAME: ClassVar[str] = "privilege_token.create"
    CODE: ClassVar[str] = "T6002I"
    SAYS: ClassVar[str] = "[{name}] authenticated again for a sensitive action"


@frozen(kw_only=True)
class RecoveryCodeGenerated(Fact):
    """
    Recovery codes were made.
    """

    NAME: ClassVar[str] = "recovery_code.generated"
    CODE: ClassVar[str] = "T1008I"
    SAYS: ClassVar[str] = "User [{user}] got new recovery codes"

    actor: Public[Actor]


@frozen(kw_only=True)
class RecoveryCodeUsed(Judged):
    """
    A recovery code was tried.
    """

    NAME: ClassVar[str] = "recovery_code.used"
    CODE: ClassVar[str] = "T1009I"
    FAILED: ClassVar[str] = "T1009W"
    SAYS: ClassVar[str] = "User [{user}] used a recovery code"
    SAYS_FAILED: ClassVar[str] = "User [{user}] failed to use a recovery code: {error}"

    actor: Public[Actor]


@frozen(kw_only=True)
class MFAAdd(Judged):
    """
    A second factor was added, or a key refused.
    """

    NAME: ClassVar[str] = "mfa.add"
    CODE: ClassVar[str] = "T1006I"
    FAILED: ClassVar[str] = "T1006E"
    SAYS: ClassVar[str] = "User [{user}] added MFA device [{mfa_device_name}]"
    SAYS_FAILED: ClassVar[str] = "A new MFA device of user [{user}] was refused: {error}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    mfa_device_name: Public[str] = ""
    mfa_device_uuid: Public[str] = ""
    mfa_device_type: Public[str] = ""


@frozen(kw_only=True)
class MFADelete(Fact):
    """
    A second factor was removed.
    """

    NAME: ClassVar[str] = "mfa.delete"
    CODE: ClassVar[str] = "T1007I"
    SAYS: ClassVar[str] = "User [{user}] removed MFA device [{mfa_device_name}]"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    mfa_device_name: Public[str] = ""
    mfa_device_uuid: Public[str] = ""
    mfa_device_type: Public[str] = ""


@frozen(kw_only=True)
class MFARename(Fact):
    """
    A second factor has another name; the reference system knows no such thing.
    """

    NAME: ClassVar[str] = "mfa.rename"
    CODE: ClassVar[str] = "T1007R"
    SAYS: ClassVar[str] = "User [{user}] renamed MFA device [{previous_name}] to [{mfa_device_name}]"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    mfa_device_name: Public[str] = ""
    mfa_device_uuid: Public[str] = ""
    mfa_device_type: Public[str] = ""
    previous_name: Public[str] = ""


@frozen(kw_only=True)
class MFAAuthChallengeCreate(Fact):
    """
    A second-factor challenge was handed out.
    """

    NAME: ClassVar[str] = "mfa_auth_challenge.create"
    CODE: ClassVar[str] = "T1015I"
    SAYS: ClassVar[str] = "An MFA challenge was made for [{user}]"

    actor: Public[Actor]
    challenge_scope: Public[str] = ""
    challenge_allow_reuse: Public[bool] = False


@frozen(kw_only=True)
class MFAAuthChallengeValidate(Judged):
    """
    The answer to a second-factor challenge was checked.
    """

    NAME: ClassVar[str] = "mfa_auth_challenge.validate"
    CODE: ClassVar[str] = "T1016I"
    FAILED: ClassVar[str] = "T1016W"
    SAYS: ClassVar[str] = "User [{user}] passed an MFA challenge"
    SAYS_FAILED: ClassVar[str] = "User [{user}] failed an MFA challenge: {error}"

    actor: Public[Actor]
    mfa_device: Public[Mapping[str, str]] = field(factory=dict)
    challenge_scope: Public[str] = ""
    challenge_allow_reuse: Public[bool] = False


@frozen(kw_only=True)
class Auth(Judged):
    """
    An SSH or other authentication was refused; there is no such event for success.
    """

    NAME: ClassVar[str] = "auth"
    CODE: ClassVar[str] = "T3007W"
    FAILED: ClassVar[str] = "T3007W"
    SAYS: ClassVar[str] = "Authentication of [{user}] was refused: {error}"
    SAYS_FAILED: ClassVar[str] = "Authentication of [{user}] was refused: {error}"

    success: Public[bool] = False
    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None


@frozen(kw_only=True)
class CertCreate(Fact):
    """
    A certificate was issued.

    @ivar identity: what it says of its holder, under the reference's names.
    """

    NAME: ClassVar[str] = "cert.create"
    CODE: ClassVar[str] = "TC000I"
    SAYS: ClassVar[str] = "A {cert_type} certificate was issued to [{user}]"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    cert_type: Public[str] = "user"
    identity: Sensitive[Mapping[str, Any]] = field(factory=dict)
    user_agent: Public[str] = ""


@frozen(kw_only=True)
class CertGenerationMismatch(Fact):
    """
    Two holders renewed the same bot certificate.
    """

    NAME: ClassVar[str] = "cert.generation_mismatch"
    CODE: ClassVar[str] = "TCB00W"
    SAYS: ClassVar[str] = "The renewable certificate of [{user}] was used twice"

    actor: Public[Actor]
    identity: Sensitive[Mapping[str, Any]] = field(factory=dict)
