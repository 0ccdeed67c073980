"""One run of notices, a file per stage.

``run`` leads through them. ``snapshot`` reads, ``due`` finds thresholds, and ``decide``, ``limits``
and ``holds`` decide what is sent; ``addressees`` and ``recipients`` choose the contacts.
``resolve`` finds what is over, and ``also_open`` adds what is still open. ``compose``,
``announcement`` and ``staff`` write messages, and ``record`` stores all of it in one transaction.
All but ``run``, ``snapshot``, ``alarms``, ``send_address`` and the recording stages are pure.
"""
