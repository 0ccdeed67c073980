"""English texts of letters that an administrator prints. Other languages are catalogues."""

from __future__ import annotations


class PersistLetterPhrases:
    """The letter to the administrator of a client's DNS about the records of dns-persist-01."""

    subject = "Subject: DNS records for the certificates of {name}"
    please = (
        "Please add the following records to the DNS. They permit {ca} to issue certificates for"
        " these domains to our account, and to no other account. They are added once and stay:"
        " renewals need no further change, and we need no access to your DNS."
    )
    form = (
        "Type: TXT. Name and value must be exactly as above. If a form has a field for the name,"
        " some providers expect it without the domain at its end. Existing records can stay."
    )
    wide = (
        "The records with policy=wildcard also permit certificates for every name below the domain."
    )
    ends = "The permission ends on {date}. We write to you again before that."
    no_end = "The permission has no end. It ends when you remove the record."
    nothing = "You do not need to send us anything: we check the records at your name servers."
    provider = "Your hosting provider"
