"""Words of the entries of the inventory: clients, contacts, servers and domains. Pure."""

from enum import StrEnum


class Purpose(StrEnum):
    """Use of a domain, which decides what its web pages are expected to do.

    ``api``: programs request it over HTTPS, and it needs no page.
    """

    SITE = "site"
    REDIRECT = "redirect"
    PARKED = "parked"
    MAIL = "mail"
    STAGING = "staging"
    CDN = "cdn"
    API = "api"


class RecordState(StrEnum):
    """State of a record. ``leaving``: the client moves the domain away."""

    ACTIVE = "active"
    LEAVING = "leaving"
    RETIRED = "retired"


class Role(StrEnum):
    """Role of a contact. The last two are staff of the provider."""

    OWNER = "owner"
    TECHNICAL = "technical"
    BILLING = "billing"
    ADMINISTRATOR = "administrator"
    LEVEL2 = "level2"


class ContactMethodKind(StrEnum):
    """How a contact is reached."""

    EMAIL = "email"
    PHONE = "phone"
    CHANNEL = "channel"  # the name of a channel of the configuration


class ContactMethodState(StrEnum):
    """Whether messages reach a contact method."""

    GOOD = "good"
    BAD = "bad"  # messages to it bounced


class ServerKind(StrEnum):
    """What a server is for."""

    WEB = "web"
    MAIL = "mail"
    BALANCER = "balancer"
    PANEL = "panel"
    CDN = "cdn"
    OTHER = "other"


class HttpsPolicy(StrEnum):
    """Whether a domain must use HTTPS. Without a word, the provider's rule applies."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class DeadlineScopeKind(StrEnum):
    """Whom a dated rule of the provider is for."""

    CLIENT = "client"
    TAG = "tag"
