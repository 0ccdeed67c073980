"""Inbound mail: replies, bounces, automatic mail and answers to invitations.

Only a mail with the mark of a notice (its id and secret) can acknowledge it or mark an address as
bad. Any other mail is shown to staff and changes nothing. Public: :mod:`notifiers.inbox.mailbox`
(the mailbox) and :mod:`notifiers.inbox.record` (one mail).
"""
